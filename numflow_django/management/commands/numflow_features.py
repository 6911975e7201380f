"""``manage.py numflow_features``: every feature with its steps and its async tasks, as a tree or as JSON."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any
from unicodedata import east_asian_width

from django.core import checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import no_style

from numflow_django.discovery.modules import Module
from numflow_django.routing.catalogue import ListedFeature, catalogue
from numflow_django.routing.scan import feature_packages
from numflow_django.text.suggestions import did_you_mean

#: Columns of output that goes to a file or a pipe, where lines are not wrapped.
ENDLESS = 10_000


class Command(BaseCommand):
    """Prints what the code declares; exits with 1 if ``manage.py check`` finds mistakes of numflow_django."""

    help = "Prints METHOD, URL, steps and async tasks of every feature. Exits with 1 if a feature has a mistake."
    # handle() prints the mistakes after the features
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """``[label ...] [--json]``."""
        parser.add_argument("labels", nargs="*", metavar="label", help="an app, or a feature such as shop.create_order")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *, labels: Sequence[str], **options: Any) -> None:
        """Print the features of *labels*, or all. Raise CommandError, with the mistakes, if there are any."""
        if os.environ.get("NO_COLOR") and not options["force_color"]:
            self.style = no_style()
            self.stderr.style_func = None
        features = catalogue(feature_packages())
        mistakes = [error for error in checks.run_checks(tags=["numflow"]) if error.level >= checks.ERROR]
        shown = _chosen(features, labels, mistakes)
        if options["json"]:
            self.stdout.write(_as_json(shown, mistakes))
        else:
            self.stdout.write(
                "\n".join(self._tree(shown)) or "There are no features: manage.py startfeature <app>/<name>"
            )
        if mistakes:
            count = f"{len(mistakes)} mistake{'s'[: len(mistakes) != 1]}"
            raise CommandError("\n".join([f"{count}:", *map(str, mistakes)]))

    def _tree(self, features: Sequence[ListedFeature]) -> Iterator[str]:
        for app, members in groupby(features, key=lambda listed: listed.app):
            yield self.style.MIGRATE_HEADING(app)
            for listed in members:
                yield from self._feature(listed)

    def _feature(self, listed: ListedFeature) -> Iterator[str]:
        feature, method = listed.feature, listed.method or "ANY"
        for url in listed.urls:
            yield "  " + self.style.MIGRATE_LABEL(f"{method} {url}")
        if not listed.urls:
            own = self.style.MIGRATE_LABEL(f"{method} {listed.path}" if listed.path else method)
            yield f"  {own}  {self.style.WARNING('no URL reaches it')}"
        yield f"    {feature.label}"
        yield from _row("    steps", _unusual(listed))
        yield from _rows(feature.steps, ["" for _ in feature.steps])
        if feature.tasks:
            yield from _row("    async_tasks", f"queue {feature.queue}")
            yield from _rows(feature.tasks, [_rules(listed, task) for task in feature.tasks])


def _chosen(features: list[ListedFeature], labels: Sequence[str], mistakes: Sequence[object]) -> list[ListedFeature]:
    """Return the features of *labels*, of apps or features. Raise CommandError for a label that matches none."""
    features = sorted(features, key=lambda listed: (listed.app, listed.feature.label))
    known = {listed.app for listed in features} | {listed.feature.label for listed in features}
    for label in labels:
        if label not in known:
            hint = did_you_mean(label, known, otherwise="without a label, all are shown")
            shown = "\n".join(["", *map(str, mistakes)]) if mistakes else ""
            raise CommandError(f"{label!r} is neither a feature nor an app with features; {hint}{shown}")
    return [listed for listed in features if not labels or {listed.app, listed.feature.label} & set(labels)]


def _as_json(features: Sequence[ListedFeature], mistakes: Sequence[checks.CheckMessage]) -> str:
    errors = [{"id": mistake.id, "message": mistake.msg, "hint": mistake.hint} for mistake in mistakes]
    shape = {"features": [listed.as_json() for listed in features], "mistakes": errors}
    return json.dumps(shape, ensure_ascii=False, indent=2)


def _unusual(listed: ListedFeature) -> str:
    """Return what differs from the defaults in the steps' transaction."""
    feature = listed.feature
    facts = {
        "autocommit (atomic = False)": not feature.atomic,
        f"database {feature.using}": feature.using != "default",
        "4xx and 5xx commit": feature.atomic and not feature.declared.rollback_on_error_response,
    }
    return ", ".join(text for text, holds in facts.items() if holds)


def _rules(listed: ListedFeature, task: Module) -> str:
    policy = listed.feature.policy(task)
    facts = {
        f"timeout {policy.seconds:g} s": True,
        "1 attempt" if policy.attempts == 1 else f"{policy.attempts} attempts": True,
        "atomic": policy.atomic,
        "stop_on_failure": policy.stop_on_failure,
        f"start_after {policy.start_after:g} s": policy.start_after > 0,
    }
    return ", ".join(text for text, holds in facts.items() if holds)


def _rows(modules: Sequence[Module], remarks: Sequence[str]) -> Iterator[str]:
    """Yield a line for each module: its number, its name and, in another column, its remark."""
    numbers = ["" if module.number is None else str(module.number) for module in modules]
    digits = max(map(len, numbers), default=0)
    names = max((_columns(module.name) for module in modules), default=0)
    for number, module, remark in zip(numbers, modules, remarks, strict=True):
        padding = " " * (names - _columns(module.name))
        yield from _row(f"      {number:>{digits}} {module.name}{padding}", remark)


def _row(label: str, remark: str) -> Iterator[str]:
    """Yield *label* and *remark* on one line, or on two lines if the terminal is too narrow."""
    width = shutil.get_terminal_size((ENDLESS, 24)).columns
    if _columns(label) + 2 + _columns(remark) <= width:
        yield f"{label}  {remark}".rstrip()
        return
    indent = " " * (len(label) - len(label.lstrip()) + 4)
    yield label.rstrip()
    yield from wrap(remark, max(width, 20), initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _columns(text: str) -> int:
    """Return the columns that *text* takes on a terminal, where a Korean syllable takes two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
