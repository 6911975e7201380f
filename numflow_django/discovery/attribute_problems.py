"""Finds problems in the attributes of a FeatureView; each message says how to fix it."""

import re
import sys
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from ..conf import conf
from ..db.lengths import LABEL_LENGTH, QUEUE_LENGTH, TASK_LENGTH
from ..text.suggestions import NEARLY_SAME_NAME, closest, one_of
from .attributes import FeatureAttributes, attribute_names
from .foreign import ignored_attributes, late_bases
from .listing import PARTS

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

#: Methods that every URL answers without a feature: HEAD like GET, OPTIONS with the allowed methods.
BUILT_IN = ("HEAD", "OPTIONS")

#: Django's handlers, which a FeatureView never calls.
HANDLERS = ("get", "post", "put", "patch", "delete", "head", "trace")

#: Our own hooks. They are called, and never awaited.
HOOKS = ("initialize_context", "on_error")

#: The dotted name of a package, whose folders may have any name: shop.features.orders.[id=int].@get.steps.
DOTTED = re.compile(r"(?!\s)[^./\\]+(\.[^./\\]+)*(?<!\s)")


def problems(view: type[FeatureAttributes], home: str) -> Iterator[str]:
    """Yield each problem in the attributes of a FeatureView class; *home* is the package of its folder."""
    yield from _misspelt_names(view)
    yield from ignored_attributes(view)
    yield from late_bases(view)
    yield from _database_and_queue(view)
    yield from _decorators(view.decorators)
    method = view.method
    if method is not None and str(method).upper() not in METHODS:
        remedy = one_of(method, METHODS)
        yield f"method = {method!r} is not a method that a feature accepts; {remedy} (None: all of them)"
    for attribute in PARTS:
        problem = package_problem(attribute, getattr(view, attribute), home)
        if problem:
            yield problem
    for handler in HANDLERS:
        if hasattr(view, handler):
            yield f"the class defines {handler}(), which is never called; move its code into a step"
    for hook in HOOKS:
        if iscoroutinefunction(getattr(view, hook, None)):
            yield f"{hook} is 'async def', and it is never awaited; make it 'def', or move what it awaits into a step"


def package_problem(attribute: str, value: Any, home: str) -> str | None:
    """Return why *value* of ``steps`` or ``async_tasks`` cannot be the dotted name of a package; None if it can."""
    if value is None:
        return None
    if not isinstance(value, str):
        return f"{attribute} = {value!r} is not a str; write the dotted name of a package"
    folders = getattr(sys.modules.get(home), "__path__", ())
    is_inside = "." not in value and any(Path(folder, value).is_dir() for folder in folders)
    if DOTTED.fullmatch(value) and not value.endswith(".py") and not is_inside:
        return None
    remedy = f"write {attribute} = {_dotted(value, attribute, home)!r}"
    return (
        f"{attribute} = {value!r} is not the dotted name of a package; {remedy}, or remove it to use the folder's own"
    )


def _dotted(value: str, attribute: str, home: str) -> str:
    """Return the dotted name that *value*, a path or a relative name, was meant to be."""
    path = value.strip().removesuffix(".py").rstrip("./\\")
    if not path.strip("./\\"):
        return f"{home}.{attribute}"
    package, parts = _start(path, home.split("."))
    for part in parts:
        package = package[:-1] if part == ".." else [*package, *filter(None, part.split("."))]
    return ".".join(package)


def _start(path: str, home: list[str]) -> tuple[list[str], list[str]]:
    """Return the package where *path* starts, and its parts from there."""
    relative = re.fullmatch(r"\.(?P<up>\.*)(?P<name>[^./\\][^/\\]*)", path)
    if relative:  # as in "from ..shared import steps"
        return home, [*[".."] * len(relative["up"]), relative["name"]]
    parts = re.split(r"[/\\]+", path)
    if parts[0] in (".", ".."):
        return home, parts
    if "." in parts[0].strip("."):
        return [], parts
    # A path from the project's root, or an absolute one, goes through the packages of home
    known = next((n for n, part in enumerate(parts) if part in home), None)
    return (home, parts) if known is None else (home[: home.index(parts[known])], parts[known:])


def _misspelt_names(view: type) -> Iterator[str]:
    """Yield a problem for each misspelt name, which would have no effect: ``decorator = [...]`` protects nothing."""
    known = [*attribute_names(), *HOOKS]
    inherited = {name for base in view.__mro__[1:] for name in vars(base)}
    own = sorted(name for name in vars(view).keys() - inherited - {*known} if not name.startswith("_"))
    for name in own:
        meant = closest(name, known, NEARLY_SAME_NAME)
        if meant:
            yield (
                f"{name} is not an attribute of a feature; did you mean {meant!r}? If it is your own, start its name "
                "with _"
            )


def _database_and_queue(view: type[FeatureAttributes]) -> Iterator[str]:
    usable = conf.usable_databases
    if view.using not in conf.databases:
        yield f"using = {view.using!r} is not in DATABASES; {one_of(view.using, usable)}"
    elif view.using not in usable and view.atomic:
        remedy = f"set using to one of {', '.join(usable)}" if usable else "add one"
        yield (
            f"using = {view.using!r} has no ENGINE in DATABASES; {remedy}, or set atomic = False if its steps "
            "need no transaction"
        )
    if view.queue is not None and view.queue not in conf.queues:
        yield f"queue = {view.queue!r} is not in RQ_QUEUES; {one_of(view.queue, conf.queues)}"


def _decorators(decorators: Any) -> Iterator[str]:
    if not isinstance(decorators, list | tuple):
        yield f"decorators = {decorators!r} is not a list; write decorators = [...]"
        return
    for decorator in decorators:
        if not callable(decorator):
            yield f"decorators has {decorator!r}, which is not a function; write the decorator itself, without quotes"


def feature_problems(feature: Any) -> Iterator[str]:
    """Yield each setting of *feature* that would have no effect, or cannot be stored."""
    if feature.tasks and not feature.atomic:
        yield (
            f"atomic = False with async tasks ({', '.join(feature.task_names)}): without a transaction nothing says "
            "when they may run; remove atomic = False or the tasks"
        )
    for step in feature.steps:
        if hasattr(step.function, "numflow_policy"):
            yield f"{step.file}: @async_task has no effect on a step; remove it, or move the module to async_tasks"
    if len(feature.label) > LABEL_LENGTH:
        yield f"its label is longer than {LABEL_LENGTH} characters; shorten the names of its folders"
    for task in feature.tasks:
        if len(task.name) > TASK_LENGTH:
            yield f"{task.file}: the name of an async task has at most {TASK_LENGTH} characters; shorten it"
    if len(str(feature.queue)) > QUEUE_LENGTH:
        yield f"the name of its queue, {feature.queue!r}, is longer than {QUEUE_LENGTH} characters; shorten it"
