"""What is wrong with the attributes of a FeatureView: each problem in words, with its remedy."""

from collections.abc import Iterator
from difflib import get_close_matches
from inspect import iscoroutinefunction
from typing import Any

from .conf import conf
from .hints import one_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

#: Methods that every URL answers by itself: HEAD as it answers GET, OPTIONS with the methods that it knows.
BUILT_IN = ("HEAD", "OPTIONS")

#: Characters of a label; what the run row holds.
LABEL_LENGTH = 200

#: Django's handlers, which a FeatureView has no use for.
HANDLERS = ("get", "post", "put", "patch", "delete", "head", "trace")

#: Our own hooks, which are called and not awaited.
HOOKS = ("initialize_context", "on_error")

#: What an author may set. One that is misspelt would be passed over: ``decorator = [login_required]`` protects nothing.
NAMES = (
    *("path", "method", "steps", "async_tasks", "decorators", "using", "queue", "atomic", "rollback_on_error_response"),
    *HOOKS,
)

#: How much alike a name and one of those must be for it to be a slip, from 0 to 1.
ALIKE = 0.85


def problems(declaration: Any) -> Iterator[str]:
    """What is wrong with the attributes of a FeatureView class, one by one."""
    yield from _slips(declaration)
    yield from _aliases(declaration)
    yield from _decorators(declaration.decorators)
    method = declaration.method
    if method is not None and str(method).upper() not in METHODS:
        yield f"method = {method!r} is none that a feature answers; {one_of(method, METHODS)} (None: all of them)"
    for attribute in ("steps", "async_tasks"):
        value = getattr(declaration, attribute)
        if not isinstance(value, str | None):
            yield f"{attribute} = {value!r} is no str; write the dotted name of a package"
    for handler in HANDLERS:
        if hasattr(declaration, handler):
            yield f"the class defines {handler}(), which is never called; its steps answer: move the code into one"
    for hook in HOOKS:
        if iscoroutinefunction(getattr(declaration, hook, None)):
            yield f"{hook} is 'async def', and nobody awaits it; make it 'def', or move what it awaits into a step"


def _slips(declaration: type) -> Iterator[str]:
    inherited = {name for base in declaration.__mro__[1:] for name in vars(base)}
    own = sorted(name for name in vars(declaration).keys() - inherited - {*NAMES} if not name.startswith("_"))
    for name in own:
        for meant in get_close_matches(name.lower(), NAMES, 1, ALIKE):
            yield f"{name} is no attribute of a feature; did you mean {meant!r}? One of your own may begin with _"


def _aliases(declaration: Any) -> Iterator[str]:
    if declaration.using not in conf.databases:
        yield f"using = {declaration.using!r} is not in DATABASES; {one_of(declaration.using, conf.databases)}"
    if declaration.queue is not None and declaration.queue not in conf.queues:
        yield f"queue = {declaration.queue!r} is not in RQ_QUEUES; {one_of(declaration.queue, conf.queues)}"


def _decorators(decorators: Any) -> Iterator[str]:
    if not isinstance(decorators, list | tuple):
        yield f"decorators = {decorators!r} is no list; write decorators = [...]"
        return
    for decorator in decorators:
        if not callable(decorator):
            yield f"decorators has {decorator!r}, which is no function; write the decorator itself, without quotes"


def contradictions(feature: Any) -> Iterator[str]:
    """What the author of a feature wrote and nothing would come of."""
    if feature.tasks and not feature.atomic:
        yield (
            f"atomic = False with async tasks ({', '.join(feature.task_names)}): without a transaction nothing says "
            "when they may run; remove atomic = False or the tasks"
        )
    for step in feature.steps:
        if hasattr(step.function, "numflow_policy"):
            yield f"{step.file}: @async_task means nothing to a step; remove it, or move the module to async_tasks"
    if len(feature.label) > LABEL_LENGTH:
        yield f"its label is longer than {LABEL_LENGTH} characters; shorten the names of its folders"
