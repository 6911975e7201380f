"""
The rules of an async task: when it may begin, how long and how often it runs, and what a failure means.

Also Retry, which a task or a feature's on_error returns to be run again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any, TypeVar, overload

from ..conf import conf
from ..text.suggestions import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])

#: Ten years in seconds: a longer wait is a typing mistake, and databases cannot add very long ones to a date.
MAX_SECONDS = 10 * 365 * 86_400

#: All executions that a Retry without ``max_attempts`` allows, the first included.
MAX_REQUEST_ATTEMPTS = 11


class Retry:
    """
    Ask for another execution.

    Returned by ``FeatureView.on_error``: run all steps again, in a new transaction, with the same context. Returned
    by an async task: run the task again; the tasks after it wait.

    *delay* is the wait before that, in seconds or as a timedelta. *max_attempts* counts executions, the first
    included; without it there are at most eleven. Raise ValueError for a negative delay or fewer than one attempt.
    """

    def __init__(self, delay: float | timedelta = 0, max_attempts: int | None = None) -> None:
        self.delay = seconds_of(delay, "Retry(delay")
        if max_attempts is not None and max_attempts < 1:
            raise ValueError(f"Retry(max_attempts={max_attempts!r}): give at least 1, the first execution")
        self.max_attempts = max_attempts

    def allows(self, attempts: int) -> bool:
        """Return whether one more execution is allowed after *attempts* executions."""
        return attempts < min(self.max_attempts or MAX_REQUEST_ATTEMPTS, MAX_REQUEST_ATTEMPTS)

    def __repr__(self) -> str:
        return f"Retry(delay={self.delay:g}, max_attempts={self.max_attempts})"


@dataclass(frozen=True, kw_only=True)
class TaskPolicy:
    """The rules of one async task; times in seconds."""

    max_attempts: int | None = None  # executions in all; None: NUMFLOW["TASK_MAX_ATTEMPTS"]
    delay: float = 10  # before the second execution
    factor: float = 2  # each further wait is this many times longer
    max_delay: float = 900  # the longest wait, before jitter
    jitter: float = 0.2  # largest change of each wait, as a fraction, so that retries spread out
    retry_on: tuple[type[BaseException], ...] = (Exception,)  # other errors fail the task at once
    timeout: float | None = None  # for one execution; None: NUMFLOW["TASK_TIMEOUT"]
    atomic: bool = False  # the task's writes and its checkpoint commit together
    start_after: float = 0  # between the moment the task is due and its first execution
    stop_on_failure: bool = False  # if it fails for good, the tasks after it do not run

    @property
    def seconds(self) -> float:
        """Return the time limit of one execution, in seconds."""
        return conf.TASK_TIMEOUT if self.timeout is None else self.timeout

    @property
    def attempts(self) -> int:
        """Return how many executions are allowed."""
        return conf.TASK_MAX_ATTEMPTS if self.max_attempts is None else self.max_attempts

    def wait_after(self, error: BaseException, attempt: int) -> float | None:
        """Return the seconds to wait after execution number *attempt* raised *error*; None: it was the last."""
        if attempt >= self.attempts or not isinstance(error, self.retry_on):
            return None
        try:
            wait = min(self.delay * float(self.factor) ** (attempt - 1), self.max_delay)
        except OverflowError:  # as for 2.0 ** 1100; max_delay applies long before
            wait = min(self.delay, 1) * self.max_delay
        return wait * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - no secret


@overload
def async_task(function: F, /) -> F: ...
@overload
def async_task(
    *,
    max_attempts: int | None = None,
    delay: float | timedelta = 10,
    factor: float = 2,
    max_delay: float | timedelta = 900,
    jitter: float = 0.2,
    retry_on: tuple[type[BaseException], ...] | type[BaseException] = (Exception,),
    timeout: float | timedelta | None = None,
    atomic: bool = False,
    start_after: float | timedelta = 0,
    stop_on_failure: bool = False,
) -> Callable[[F], F]: ...
def async_task(function: F | None = None, /, **rules: Any) -> F | Callable[[F], F]:
    """
    Set the rules of an async task; a task without this decorator has the defaults of ``NUMFLOW``.

    All times are seconds or timedeltas.

    *max_attempts* executions in all; between them the run waits *delay*, then *delay* x *factor* and so on, at most
    *max_delay*, each wait up to *jitter* (a fraction) shorter or longer. Only errors of the types *retry_on* are
    retried. *timeout* limits one execution. With *atomic*, the task's database work (in the feature's database) and its
    checkpoint commit together, so that it takes effect exactly once. *start_after* is a wait before the first
    execution. With *stop_on_failure*, the tasks after it are skipped if it fails for good.

    Raise ValueError for a number that is out of range, TypeError for a rule that does not exist.
    """
    if function is not None and not callable(function):
        raise TypeError(f"async_task({function!r}): give the rules by name, such as async_task(timeout=30)")
    policy = TaskPolicy(**_checked(rules))

    def decorate(function: F) -> F:
        function.numflow_policy = policy  # type: ignore[attr-defined]
        return function

    return decorate if function is None else decorate(function)


def policy_of(function: Callable[..., Any]) -> TaskPolicy:
    """Return the rules that ``@async_task`` set on *function*, or the defaults."""
    return getattr(function, "numflow_policy", _DEFAULT)


_DEFAULT = TaskPolicy()


def _checked(rules: dict[str, Any]) -> dict[str, Any]:
    checked = dict(rules)
    for name, value in rules.items():
        if name not in _WANTED:
            hint = did_you_mean(name, _WANTED, otherwise=f"the rules are {', '.join(_WANTED)}")
            raise TypeError(f"async_task({name}=...): there is no such rule; {hint}")
        if name in {"delay", "max_delay", "start_after", "timeout"} and isinstance(value, timedelta):
            checked[name] = value.total_seconds()
        if name == "retry_on" and isinstance(value, type):
            checked[name] = (value,)
        is_good, wanted = _WANTED[name]
        if not is_good(checked[name]):
            raise ValueError(f"async_task({name}={value!r}): give {wanted}")
    return checked


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= MAX_SECONDS


def _are_errors(value: Any) -> bool:
    kinds = value if isinstance(value, tuple) else ()
    return bool(kinds) and all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)


_SECONDS = (_is_seconds, "zero or more seconds, at most ten years")
_TRUTH = (lambda value: isinstance(value, bool), "True or False")
_WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_attempts": (
        lambda value: value is None or (isinstance(value, int) and _is_number(value) and value >= 1),
        "at least 1, the first execution",
    ),
    "delay": _SECONDS,
    "factor": (lambda value: _is_number(value) and value >= 1, "a number of at least 1"),
    "max_delay": _SECONDS,
    "jitter": (lambda value: _is_number(value) and 0 <= value <= 1, "a fraction from 0 to 1"),
    "retry_on": (_are_errors, "a tuple of exception classes"),
    "timeout": (
        lambda value: value is None or (_is_seconds(value) and value > 0),
        "a positive number of seconds, at most ten years",
    ),
    "atomic": _TRUTH,
    "start_after": _SECONDS,
    "stop_on_failure": _TRUTH,
}


def seconds_of(value: float | timedelta, what: str) -> float:
    """Return *value* in seconds. Raise ValueError, naming *what*, if it is not a valid wait."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_seconds(seconds):
        raise ValueError(f"{what}={value!r}): give zero or more seconds, at most ten years")
    return float(seconds)
