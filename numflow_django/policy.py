"""What an author decides about the running of a task: its time limit, its transaction, what a failure means."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any, TypeVar, overload

from .conf import conf

F = TypeVar("F", bound=Callable[..., Any])

#: All executions of a feature's steps in one request, the first included, whatever ``on_error`` returns.
MAX_REQUEST_ATTEMPTS = 11


@dataclass(frozen=True, kw_only=True)
class TaskPolicy:
    """The rules of one async task."""

    timeout: float | None = None  # seconds for one execution; None: NUMFLOW["TASK_TIMEOUT"]
    atomic: bool = False  # the task's writes and its checkpoint commit together
    stop_on_failure: bool = False  # the tasks after it are not run if it fails for good

    @property
    def seconds(self) -> float:
        """The time limit of one execution, in seconds."""
        return conf.TASK_TIMEOUT if self.timeout is None else self.timeout


@overload
def async_task(function: F, /) -> F: ...
@overload
def async_task(
    *, timeout: float | None = None, atomic: bool = False, stop_on_failure: bool = False
) -> Callable[[F], F]: ...
def async_task(
    function: F | None = None,
    /,
    *,
    timeout: float | None = None,
    atomic: bool = False,
    stop_on_failure: bool = False,
) -> F | Callable[[F], F]:
    """
    Give an async task rules of its own; a task without this decorator gets the defaults of ``NUMFLOW``.

    *timeout* limits one execution, in seconds. With *atomic*, the task's database work (in the feature's database)
    and its checkpoint commit together, so that it takes effect exactly once. With *stop_on_failure*, the tasks after
    it are skipped if it fails. Raises ValueError for a timeout that is not a positive number.
    """
    if function is not None and not callable(function):
        raise TypeError(f"async_task({function!r}): give options by name, such as async_task(timeout=30)")
    if timeout is not None and not _is_positive(timeout):
        raise ValueError(f"async_task(timeout={timeout!r}): give a positive number of seconds")
    policy = TaskPolicy(timeout=timeout, atomic=atomic, stop_on_failure=stop_on_failure)

    def decorate(function: F) -> F:
        function.numflow_policy = policy  # type: ignore[attr-defined]
        return function

    return decorate if function is None else decorate(function)


def _is_positive(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and isfinite(seconds) and seconds > 0


def policy_of(function: Callable[..., Any]) -> TaskPolicy:
    """The rules that ``@async_task`` gave to *function*, or the defaults."""
    return getattr(function, "numflow_policy", _DEFAULT)


_DEFAULT = TaskPolicy()


class Retry:
    """
    Returned by ``FeatureView.on_error``: run all steps again, in a fresh transaction, with the same context.

    *delay* is the wait before that, in seconds or as a timedelta. *max_attempts* counts executions, the first
    included; there are never more than eleven. Raises ValueError for a negative delay or fewer than one attempt.
    """

    def __init__(self, delay: float | timedelta = 0, max_attempts: int | None = None) -> None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        if not (isfinite(seconds) and seconds >= 0):
            raise ValueError(f"Retry(delay={delay!r}): give zero or more seconds")
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"Retry(max_attempts={max_attempts!r}): give at least 1, the first execution")
        self.delay = seconds
        self.max_attempts = max_attempts

    def allows(self, attempts: int) -> bool:
        """Whether there may be one more execution after *attempts* of them."""
        return attempts < min(self.max_attempts or MAX_REQUEST_ATTEMPTS, MAX_REQUEST_ATTEMPTS)

    def __repr__(self) -> str:
        return f"Retry(delay={self.delay:g}, max_attempts={self.max_attempts})"
