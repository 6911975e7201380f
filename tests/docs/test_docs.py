"""The docs and the code agree: each public name, setting, check, signal, error and command is in the reference."""

import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from django.core.management import get_commands
from django.dispatch import Signal
from django.views import View

from numflow_django import FeatureView, exceptions, signals
from numflow_django.conf import KEYS
from numflow_django.discovery.attribute_problems import HOOKS
from numflow_django.discovery.attributes import FeatureAttributes
from numflow_django.discovery.policy import TaskPolicy
from numflow_django.exceptions import FeatureConfigurationError, NumflowError
from numflow_django.models import ExecutionState, RunState
from tests.support.sites import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/reference/settings.md").read_text()
COMMANDS = (ROOT / "docs/reference/commands.md").read_text()
CHECKS = (ROOT / "docs/reference/checks.md").read_text()
BEHAVIOURS = (ROOT / "docs/reference/behaviours.md").read_text()
API = (ROOT / "docs/reference/api.md").read_text()
ERRORS = (ROOT / "docs/reference/errors.md").read_text()
SIGNALS = (ROOT / "docs/reference/signals.md").read_text()
PAGES = sorted((ROOT / "docs").rglob("*.md"))
REFERENCE = "\n".join(page.read_text() for page in sorted((ROOT / "docs/reference").glob("*.md")))

CODES = sorted(
    {
        thing.code
        for thing in vars(exceptions).values()
        if isinstance(thing, type)
        and issubclass(thing, FeatureConfigurationError)
        and thing is not FeatureConfigurationError
    }
    | {
        code
        for file in (ROOT / "numflow_django/checks").glob("*.py")
        for code in re.findall(r'id="(numflow\.\w+)"', file.read_text(encoding="utf-8"))
    }
)
DOCSTRING_IDS = {
    found
    for file in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "example_project").rglob("test_*.py")]
    for line in re.findall(r'"""((?:[A-E]\d+(?:, )?)+):', file.read_text(encoding="utf-8"))
    for found in line.split(", ")
}

BEHAVIOUR_IDS = re.findall(r"^\| ([A-E]\d+) \|", BEHAVIOURS, re.MULTILINE)

#: Modules with public names of their own.
PUBLIC_MODULES = {
    "numflow_django": None,
    "numflow_django.testing": None,
    "numflow_django.contrib.rest_framework": ("FeatureAPIView",),
    "numflow_django.embedded": ("EmbeddedBroker", "rq_queues"),
    "numflow_django.models": ("FeatureRun", "TaskExecution"),
    "numflow_django.worker": ("FeatureWorker",),
}


def public_names() -> Iterator[str]:
    for module, names in PUBLIC_MODULES.items():
        if is_there(module):
            yield from names or import_module(module).__all__


def is_there(module: str) -> bool:
    parent = module.rpartition(".")[0]
    return (not parent or is_there(parent)) and find_spec(module) is not None


def rows(page: str, first: str) -> dict[str, list[str]]:
    """Return the table of *page* whose first column has the heading *first*: the name in a row -> its other cells."""
    table = page.partition(f"| {first} |")[2].partition("\n\n")[0]
    cells = [re.split(r" \| ", line[2:-2]) for line in table.splitlines()[2:]]
    return {row[0].strip("`"): [cell.strip() for cell in row[1:]] for row in cells}


@pytest.mark.parametrize("name", list(public_names()))
def test_every_public_name_has_its_heading_or_row(name: str) -> None:
    """Each name that a user may import is in the reference."""
    assert re.search(rf"^(#+|\|) `{name}`", REFERENCE, re.MULTILINE)


def test_the_views_attributes_are_those_of_the_reference() -> None:
    """Each attribute that a feature may set has its row, with its default."""
    attributes = {
        name: repr(value).replace("'", '"')
        for name, value in [*vars(FeatureAttributes).items(), *vars(FeatureView).items()]
        if not name.startswith("_") and isinstance(value, str | bool | tuple | None)
    }

    assert {name: cells[0].strip("`") for name, cells in rows(API, "attribute").items()} == attributes


def test_the_extension_api_is_that_of_the_reference() -> None:
    """Each method of FeatureView that a framework's class may override has its row, with its parameters."""
    names = [name for name, value in vars(FeatureView).items() if is_public_method(name, value)]
    signatures = [f"{name}({', '.join(parameters_of(name))})" for name in names if name not in HOOKS]

    assert list(rows(API, "extension method")) == signatures
    assert list(rows(API, "method")) == [f"{name}({', '.join(parameters_of(name))})" for name in HOOKS]


def is_public_method(name: str, value: object) -> bool:
    """Return whether FeatureView itself, and not Django's View, defines the public method *name*."""
    return not name.startswith("_") and not hasattr(View, name) and isinstance(value, FunctionType | classmethod)


def parameters_of(method: str) -> list[str]:
    return [name for name in signature(getattr(FeatureView, method)).parameters if name != "self"]


def test_the_rules_of_a_task_are_those_of_the_reference() -> None:
    """Each rule of async_task has its row, with its default."""
    defaults = {field.name: field.default for field in fields(TaskPolicy)} | {"retry_on": "(Exception,)"}

    shown = {name: cells[0].strip("`") for name, cells in rows(API, "rule").items()}

    assert shown == {name: str(value) for name, value in defaults.items()}


@pytest.mark.parametrize(("first", "states"), [("`state`", RunState), ("`state` of a try", ExecutionState)])
def test_the_states_are_those_of_the_reference(first: str, states: Any) -> None:
    """Each state of a run and of an execution has its row."""
    assert list(rows(API, first)) == states.values


def test_every_signal_has_its_row() -> None:
    """The reference of the signals has all signals and no other row."""
    assert set(rows(SIGNALS, "signal")) == {name for name, value in vars(signals).items() if isinstance(value, Signal)}


@pytest.mark.parametrize(
    "error",
    [error for error in vars(exceptions).values() if isinstance(error, type) and issubclass(error, NumflowError)],
    ids=lambda error: error.__name__,
)
def test_every_error_has_its_row(error: type[NumflowError]) -> None:
    """Each error is in the reference, with its base classes or its code."""
    if error is NumflowError:
        return
    bases = ", ".join(f"`{base.__name__}`" for base in error.__bases__)
    is_mistake = FeatureConfigurationError in error.__bases__

    assert f"| `{error.__name__}` | " + (f"`{error.code}`" if is_mistake else bases) + " | " in ERRORS


@pytest.mark.parametrize("command", [name for name, app in get_commands().items() if app == "numflow_django"])
def test_every_command_has_its_heading_or_row(command: str) -> None:
    """Each command of manage.py is in the reference."""
    assert f"\n## {command}\n" in COMMANDS


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings, as GitHub and Sphinx make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[tuple[str, str]]:
    """Return the links of *page* to other pages: target and anchor, each of which may be empty."""
    found = re.findall(r"\]\(((?!http)[^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    return [(target, anchor) for target, anchor in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """
    A link from one page to another, or to a heading, has an existing target. Sphinx does not report such mistakes.
    """
    for target, anchor in links_of(page):
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file)


def test_the_pages_have_links() -> None:
    """The test above finds links between the pages, also to a heading."""
    links = [link for page in PAGES for link in links_of(page)]

    assert ("../reference/commands.md", "") in links
    assert ("scaling.md", "a-host-that-is-cut-off") in links


def test_no_link_of_the_readme_is_relative() -> None:
    """Each link of the README is absolute: PyPI shows the README, but not the files beside it."""
    links = re.findall(r"\]\(([^)]*)\)|^\[[^\]]+\]: (\S+)|(?:href|src)=\"([^\"]*)\"", README, re.MULTILINE)
    targets = ["".join(found) for found in links]

    assert targets
    assert [target for target in targets if not target.startswith(("https://", "http://127.0.0.1"))] == []


def test_links_of_the_readme_lead_somewhere() -> None:
    """Each link of the README into the repository names an existing file and heading."""
    links = re.findall(r"https://github\.com/numflow/numflow-django/([^)\s#]*)(?:#([^)\s]*))?", README)

    assert links
    for path, anchor in links:
        file = ROOT / path.removeprefix("blob/main/")
        assert path.startswith("blob/main/"), path
        assert file.is_file(), path
        assert not anchor or anchor in anchors(file)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_its_row(key: str) -> None:
    """Each key of NUMFLOW is in the reference of the settings."""
    assert f"| `{key}` |" in SETTINGS


@pytest.mark.parametrize("code", CODES)
def test_every_check_has_its_row(code: str) -> None:
    """Each id of a system check is in the reference."""
    assert f"| `{code}` |" in CHECKS


def test_no_other_check_has_a_row() -> None:
    """The reference lists only checks that exist, in order."""
    assert re.findall(r"^\| `(numflow\.\w+)` \|", CHECKS, re.MULTILINE) == CODES


def test_the_behaviours_of_the_table_are_those_with_a_test() -> None:
    """The table of behaviours has exactly the ids that are in the docstrings of tests."""
    assert set(BEHAVIOUR_IDS) == DOCSTRING_IDS


def test_the_table_of_behaviours_is_whole() -> None:
    """The table has all behaviours that a web developer knows from Numflow, and each id once, in order."""
    assert {f"A{number}" for number in range(1, 38)} <= set(BEHAVIOUR_IDS)
    assert sorted(set(BEHAVIOUR_IDS), key=lambda each: (each[0], int(each[1:]))) == BEHAVIOUR_IDS


def test_the_errors_codes_are_unique() -> None:
    """No two kinds of mistakes share a code."""
    classes = [thing for thing in vars(exceptions).values() if isinstance(thing, type) and "code" in vars(thing)]
    codes = [thing.code for thing in classes]

    assert len(codes) == len(set(codes))
