"""``manage.py startfeature``: a new feature's folder, with steps, an async task and a test."""

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from os.path import relpath
from pathlib import Path
from shlex import quote
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.encoding import iri_to_uri

from numflow_django.conf import conf
from numflow_django.discovery.attribute_problems import METHODS
from numflow_django.exceptions import InvalidFeatures
from numflow_django.routing.catalogue import catalogue
from numflow_django.routing.scan import feature_packages
from numflow_django.scaffold.plan import Blueprint, ScaffoldError, plan
from numflow_django.scaffold.render import EXAMPLE, Scaffold
from numflow_django.scaffold.verify import Example, Trial, example_of
from numflow_django.scaffold.writer import Creation


class Command(BaseCommand):
    """Writes a feature that works without an edit, or nothing."""

    help = "Writes a feature's folder with steps, an async task and a test. Never overwrites a file."
    # The checks would report that there is no folder of features, which the first feature fixes
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """``<app>/<folders> [--method M] [--path P] [--no-task] [--typed] [--dry-run]``."""
        parser.add_argument(
            "target",
            metavar="app/feature",
            help="such as shop/create_order, or 'shop/api/orders/[order_id=int]/@get', whose folders define method "
            "and path; the app is its label or dotted name",
        )
        parser.add_argument("--method", type=str.upper, choices=METHODS, help="default: POST")
        parser.add_argument("--path", help="in Django's route syntax, such as api/orders/; default: from the folders")
        parser.add_argument("--no-task", action="store_true", help="write no async task; a GET feature never has one")
        parser.add_argument("--typed", action="store_true", help="write annotations, for mypy --strict")
        parser.add_argument("--dry-run", action="store_true", help="show what would be written, and write nothing")

    def handle(self, *, target: str, **options: Any) -> None:
        """Write the feature and its test. If that is not possible, raise CommandError and leave nothing behind."""
        try:
            blueprint = plan(target, method=options["method"], path=options["path"])
            scaffold = Scaffold(
                blueprint=blueprint,
                with_task=not options["no_task"],
                typed=options["typed"],
                asks_login=conf.has_login_middleware,
            )
            files = [*scaffold.files(), blueprint.test_file]
            _refuse_to_overwrite(blueprint, files)
            if options["dry_run"]:
                self.stdout.write("\n".join(["This would be written:", *_tree(files)]))
                return
            urls, example = _write(scaffold)
        except (InvalidFeatures, OSError, ScaffoldError) as error:
            raise CommandError(f"Nothing was written: {error}") from error
        lines = [self.style.SUCCESS("Written:"), *_tree(files), "", *_next(scaffold, example, is_routed=bool(urls))]
        self.stdout.write("\n".join(lines))


def _refuse_to_overwrite(blueprint: Blueprint, files: Iterable[Path]) -> None:
    parts = [blueprint.folder / name for name in ("feature.py", "steps", "async_tasks")]
    # A second feature in the folder would be mixed with the first one
    there = [path for path in parts if path.exists()] or [path for path in files if path.exists()]
    if there:
        shown = "\n".join(f"  {_shown(path)}" for path in there)
        raise ScaffoldError(f"these files exist already; choose another name, or delete them:\n{shown}")


def _write(scaffold: Scaffold) -> tuple[tuple[str, ...], Example]:
    """Write all files. Return the URLs that now reach the feature, and an example of the first one."""
    blueprint = scaffold.blueprint
    trial = Trial(blueprint)
    with Creation() as creation:
        for file, text in scaffold.files().items():
            creation.write(file, text)
        route = trial.route()
        urls = _urls(blueprint)
        example = example_of(urls[0] if urls else f"/{route.path}")
        values = {name: example.values[name] for name in blueprint.parameters}
        creation.write(blueprint.test_file, scaffold.test(example.url, values))
    return urls, example


def _urls(blueprint: Blueprint) -> tuple[str, ...]:
    try:
        entries = catalogue(feature_packages())
    except Exception as error:
        raise ScaffoldError(f"the URLconf cannot be imported: {type(error).__name__}: {error}") from error
    return next((entry.urls for entry in entries if entry.feature.package == blueprint.package), ())


# Output


def _tree(files: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of a tree of *files*, each folder once."""
    shown: set[Path] = set()
    for file in files:
        path = Path(_shown(file))
        for depth, folder in enumerate(reversed(path.parents)):
            if folder.name and folder not in shown:
                shown.add(folder)
                yield f"{'  ' * depth}{folder.name}/"
        yield f"{'  ' * len(path.parents)}{path.name}"


def _shown(path: Path) -> str:
    here = Path.cwd()
    return relpath(path) if path.is_relative_to(here) else str(path)


def _next(scaffold: Scaffold, example: Example, *, is_routed: bool) -> Iterator[str]:
    blueprint = scaffold.blueprint
    if not is_routed:
        module = import_module(conf.root_urlconf) if conf.root_urlconf else None
        where = _shown(Path(module.__file__)) if module and module.__file__ else "your URLconf"
        yield f"No URL reaches it yet. Add this to {where}:"
        yield "  from django.urls import include, path"
        yield "  from numflow_django import feature_urls"
        yield f'  urlpatterns += [path("", include(feature_urls("{blueprint.root}")))]'
        yield ""
    yield "Next:"
    yield "  python manage.py check"
    yield f"  python manage.py test {blueprint.test_label}"
    yield "  python manage.py migrate"
    yield "  python manage.py runserver"
    yield f"  {_curl(scaffold, example.url)}"
    if scaffold.asks_login:
        yield "  # LoginRequiredMiddleware sends curl to the login, unless decorators contain login_not_required"
    if scaffold.has_task and conf.QUEUE in conf.embedded_queues:
        yield "  python manage.py numflow_broker   # in a terminal of its own: REDIS_URL is not set"
    if scaffold.has_task:
        yield f"  python manage.py rqworker {conf.QUEUE}   # in another terminal"


def _curl(scaffold: Scaffold, url: str) -> str:
    words = ["curl", "-i"]
    if scaffold.blueprint.method not in {"GET", "POST"}:
        words += ["-X", scaffold.blueprint.method]
    if scaffold.has_body:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(EXAMPLE)]
    return " ".join(map(quote, [*words, f"http://127.0.0.1:8000{iri_to_uri(url)}"]))
