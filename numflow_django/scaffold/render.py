"""Renders the source of a new feature and of its test, for ``manage.py startfeature``."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from .plan import Blueprint

TEMPLATES = Path(__file__).parent / "templates"

#: The types of the parameters of steps and async tasks.
TYPES = {"ctx": "Context", "request": "FeatureRequest", "response": "FeatureResponse"}

#: The modules from which the source imports its names.
HOMES = {
    "Any": "typing",
    "Context": "numflow_django",
    "FeatureRequest": "numflow_django",
    "FeatureResponse": "numflow_django",
    "FeatureView": "numflow_django",
    "StepError": "numflow_django",
    "TestCase": "django.test",
    "csrf_exempt": "django.views.decorators.csrf",
    "get_user_model": "django.contrib.auth",
    "run_pending": "numflow_django.testing",
}

#: The name of the second step if the folder's name is not usable.
VERBS = {"POST": "create", "PUT": "replace", "PATCH": "update", "DELETE": "delete"}

STATUSES = {"POST": 201, "DELETE": 204}

#: The data that the generated test sends.
EXAMPLE = {"name": "Minji"}


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """The files of one new feature."""

    blueprint: Blueprint
    with_task: bool  # a GET has none: it changes nothing that needs a follow-up
    typed: bool  # annotated, for mypy --strict
    asks_login: bool = False  # the site's middleware requires a login

    @property
    def has_body(self) -> bool:
        """Return whether a request has a body."""
        return self.blueprint.method in {"POST", "PUT", "PATCH"}

    @property
    def has_task(self) -> bool:
        """Return whether it has an async task."""
        return self.with_task and self.blueprint.method != "GET"

    @property
    def status(self) -> int:
        """Return the status of the response."""
        return STATUSES.get(self.blueprint.method, 200)

    def files(self) -> dict[Path, str]:
        """Return the feature's files with their texts, without the test."""
        texts = dict(self._steps())
        if self.has_task:
            texts["async_tasks/100_notify.py"] = self._module("notify", "notify", 1)
        if not self.blueprint.is_implicit or self.blueprint.method != "GET":
            texts = {"feature.py": self._feature(), **texts}
        return {self.blueprint.folder / name: text for name, text in texts.items()}

    def _steps(self) -> Iterator[tuple[str, str]]:
        method, arity = self.blueprint.method, 2 if self.blueprint.parameters else 1
        first = "validate" if self.has_body else "find"
        yield f"steps/100_{first}.py", self._module(first, first, 2 if self.has_body else arity)
        if method != "GET":
            verb = self.blueprint.verb or VERBS[method]
            verb = VERBS[method] if verb in {first, "respond"} else verb
            work = self._module("work", verb, arity) if self.has_body else self._module("delete", verb, 1)
            yield f"steps/200_{verb}.py", work
        yield f"steps/{200 if method == 'GET' else 300}_respond.py", self._module("respond", "respond", 3)

    def _module(self, template: str, name: str, arity: int) -> str:
        """Return the source of a step or an async task that takes the first *arity* parameters."""
        parameters = dict(list(TYPES.items())[:arity])
        used = ["StepError"] * (template == "validate")
        if self.typed:
            used += [*parameters.values(), *["Any"] * (template == "notify")]
        status = "" if self.status == 200 else f", status={self.status}"
        return self._render(
            template,
            used,
            name=name,
            parameters=", ".join(f"{key}: {kind}" if self.typed else key for key, kind in parameters.items()),
            result=self._result(),
            answer='response.send("", status=204)' if self.status == 204 else f"response.json(ctx.result{status})",
        )

    def _result(self) -> str:
        given = {name: f'request.params["{name}"]' for name in self.blueprint.parameters}
        if self.has_body:
            given["name"] = "ctx.name"
        return _dict(given or {"items": "[]"}, indent=4)

    def _feature(self) -> str:
        blueprint = self.blueprint
        lines = (
            [] if blueprint.is_implicit else [f"path = {_literal(blueprint.path)}", f'method = "{blueprint.method}"']
        )
        if blueprint.method != "GET":
            lines += ["# For clients without cookies; remove it if browsers with a session call this"]
            lines += ["decorators = (csrf_exempt,)"]
        return self._render(
            "feature",
            ["FeatureView", *["csrf_exempt"] * (blueprint.method != "GET")],
            class_name=blueprint.class_name,
            attributes="\n".join(f"    {line}" for line in lines),
        )

    def test(self, url: str, values: Mapping[str, Any]) -> str:
        """Return the source of a test that calls *url*, in which the route's parameters have the JSON *values*."""
        method = self.blueprint.method.lower()
        text = self._render(
            "test",
            ["TestCase", *["run_pending"] * self.has_task, *["get_user_model"] * self.asks_login],
            url=_literal(url),
            class_name=self.blueprint.class_name,
            set_up=self._render("login", []) + "\n" if self.asks_login else "",
            call=f'{method}(URL, data, content_type="application/json")' if self.has_body else f"{method}(URL)",
            data=f"        data = {_literals(EXAMPLE)}\n" if self.has_body else "",
            status=str(self.status),
            expectations="\n".join(self._expectations(values)),
        )
        return f"{text}\n{self._render('refusal', [], method=method)}" if self.has_body else text

    def _expectations(self, values: Mapping[str, Any]) -> Iterator[str]:
        if self.status != 204:
            expected = {**values, **(EXAMPLE if self.has_body else {})} or {"items": []}
            source = _literals(expected)
            if len(expected) > 1:
                yield f"        expected = {source}"
                source = "expected"
            yield f"        self.assertEqual(answer.json(), {source})"
        if self.has_task:
            yield "        [run] = run_pending()"
            yield '        self.assertEqual(run.state, "succeeded")'

    def _render(self, template: str, used: Iterable[str], **values: str) -> str:
        """Return the text of a template, which uses the names *used*."""
        source = (TEMPLATES / f"{template}.py-tpl").read_text(encoding="utf-8")
        returns = {"none": " -> None", "result_type": " -> dict[str, Any]"}
        values |= {name: arrow if self.typed else "" for name, arrow in returns.items()}
        return Template(source).substitute(values, imports=_imports(used)).strip("\n") + "\n"


def _imports(names: Iterable[str]) -> str:
    """Return the import statements for *names*, sorted as ruff and isort sort them."""
    by_home: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        by_home.setdefault(HOMES[name], []).append(name)
    lines = [f"from {home} import {', '.join(found)}\n" for home, found in sorted(by_home.items()) if home != "typing"]
    standard = [f"from typing import {', '.join(by_home['typing'])}\n\n"] if "typing" in by_home else []
    return "".join([*standard, *lines])


def _literal(value: Any) -> str:
    """Return the source of a JSON value, in double quotes."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | list) else repr(value)


def _literals(values: Mapping[str, Any]) -> str:
    return _dict({key: _literal(value) for key, value in values.items()}, indent=8)


def _dict(entries: Mapping[str, str], *, indent: int) -> str:
    """Return the source of a dict of *entries*, key -> source; one line each if there are several."""
    if len(entries) == 1:
        return "".join(f'{{"{key}": {source}}}' for key, source in entries.items())
    lines = [f'{" " * indent}    "{key}": {source},\n' for key, source in entries.items()]
    return "".join(["{\n", *lines, " " * indent, "}"])
