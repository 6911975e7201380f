"""Faults for users' tests: a task that fails, a worker that dies."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.test.utils import TestContextDecorator

from ..discovery.modules import Module
from ..discovery.registry import Feature, registry
from ..exceptions import UnknownFeature, UnknownTask
from ..text.suggestions import did_you_mean


class InjectedFault(Exception):
    """The error that a task raises under ``fail_task()``, unless the test passes another error."""


class WorkerDied(BaseException):
    """Ends a worker in a test, where SIGKILL would end the test."""


class Fault(TestContextDecorator):
    """
    A fault of one async task, during a block or a test.

    At the start, raise UnknownFeature or UnknownTask if there is no such feature or task. At the end, raise
    AssertionError if the fault has not happened as often as requested, because the test would prove nothing.
    """

    def __init__(self, feature: str, task: str, times: int | None = 1) -> None:
        if times is not None and times < 1:
            raise ValueError(f"{type(self).__name__}(times={times!r}): pass at least 1, or None for every time")
        super().__init__()
        self.label, self.task, self.times = feature, task, times

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.label!r}, {self.task!r})"

    def enable(self) -> None:
        """Called when the block or the test begins."""
        self.happened = 0
        feature = _feature(self.label, self)
        task = _task(feature, self.task, self)
        faulty = replace(task, function=(self._async if task.is_async else self._sync)(task.function))
        tasks = tuple(faulty if module is task else module for module in feature.tasks)
        self.replaced = registry.exchange(replace(feature, tasks=tasks))

    def disable(self) -> None:
        """Called when it ends."""
        registry.exchange(self.replaced)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.disable()
        if error is None and self.happened < (self.times or 1):
            often = f"{self.happened} of {self.times} times" if self.happened else "never"
            raise AssertionError(
                f"{self} happened {often}, so the test does not prove what it claims; call run_pending() in the block, "
                "or run_pending(waiting=True) or until=... if the task has retries"
            )

    def before(self) -> None:
        """Called when the task begins."""

    def after(self) -> None:
        """Called when the task has returned."""

    def is_due(self) -> bool:
        """Count this execution, and return whether the fault happens in it."""
        due = self.times is None or self.happened < self.times
        self.happened += due
        return due

    def _sync(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def faulty(ctx: Any) -> Any:
            self.before()
            result = function(ctx)
            self.after()
            return result

        return faulty

    def _async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        async def faulty(ctx: Any) -> Any:
            self.before()
            result = await function(ctx)
            self.after()
            return result

        return faulty


class fail_task(Fault):  # noqa: N801 - a decorator
    """
    Make an async task fail: it raises *error* (an exception or its class) instead of its work.

    *feature* is a label such as ``"shop.create_order"``, *task* a name such as ``"send_email"``. The first *times*
    executions fail; None: all of them.
    """

    def __init__(
        self,
        feature: str,
        task: str,
        times: int | None = 1,
        error: BaseException | type[BaseException] = InjectedFault,
    ) -> None:
        super().__init__(feature, task, times)
        self.error = error

    def before(self) -> None:
        """Raise the error if the fault is due."""
        if self.is_due():
            error = self.error(f"by {self}") if isinstance(self.error, type) else self.error
            raise error.with_traceback(None)


class worker_dies_in(Fault):  # noqa: N801 - a decorator
    """Make the worker die before the first line of an async task. The arguments are those of :class:`fail_task`."""

    def before(self) -> None:
        """Let the worker die if the fault is due."""
        if self.is_due():
            raise WorkerDied(f"by {self}")


class worker_dies_after(Fault):  # noqa: N801 - a decorator
    """
    Make the worker die after an async task has returned but before its checkpoint, so that the task runs again.

    This is why a task must be idempotent. The work of an ``atomic=True`` task is rolled back. The arguments are those
    of :class:`fail_task`.
    """

    def after(self) -> None:
        """Let the worker die if the fault is due."""
        if self.is_due():
            raise WorkerDied(f"by {self}")


def _feature(label: str, fault: object) -> Feature:
    feature = registry.find(label)
    if feature is None:
        hint = _hint(label, [known.label for known in registry], "features")
        raise UnknownFeature(f"{fault}: there is no feature {label!r}; {hint}")
    return feature


def _task(feature: Feature, name: str, fault: object) -> Module:
    task = feature.task(name)
    if task is None:
        hint = _hint(name, feature.task_names, "async tasks")
        raise UnknownTask(f"{fault}: {feature.label} has no async task {name!r}; {hint}")
    return task


def _hint(name: str, known: list[str], kind: str) -> str:
    return did_you_mean(name, known, otherwise=f"its {kind} are: {', '.join(known) or 'none'}")
