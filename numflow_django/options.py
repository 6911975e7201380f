"""What is wrong with the attributes of a FeatureView: each problem in words, with its remedy."""

from collections.abc import Iterator
from typing import Any

from .conf import conf
from .hints import one_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

#: Characters of a label; what the run row holds.
LABEL_LENGTH = 200

#: Django's handlers, which a FeatureView has no use for.
HANDLERS = ("get", "post", "put", "patch", "delete", "head", "trace")


def problems(declaration: Any) -> Iterator[str]:
    """What is wrong with the attributes of a FeatureView class, one by one."""
    yield from _names(declaration)
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


def _names(declaration: Any) -> Iterator[str]:
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
