"""The pause of a queue after a failure of its Redis, so that requests do not wait for it one after another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock
from time import monotonic
from typing import Concatenate, ParamSpec, TypeVar

from redis.exceptions import RedisError

from ..exceptions import NumflowError

P = ParamSpec("P")
Result = TypeVar("Result")
Default = TypeVar("Default")

#: Seconds after a failure of Redis in which its queue is not tried.
PAUSE = 3.0

#: By queue: the monotonic time at which its pause ends.
_ends: dict[str, float] = {}
_lock = Lock()


class BrokerPaused(NumflowError):
    """The queue's Redis failed less than ``PAUSE`` seconds ago, so it is not tried again yet."""


def is_paused(queue: str) -> bool:
    """Return whether the queue's Redis failed less than ``PAUSE`` seconds ago."""
    return monotonic() < _ends.get(queue, 0.0)


def refuse_if_paused(queue: str) -> None:
    """Raise BrokerPaused while the queue is paused."""
    if is_paused(queue):
        raise BrokerPaused(f"queue {queue!r}: its Redis failed less than {PAUSE:g} s ago")


def note_failure(queue: str, error: Exception) -> None:
    """Pause the queue if *error* is a failure of Redis or of the connection to it."""
    if isinstance(error, RedisError | OSError):
        with _lock:
            _ends[queue] = monotonic() + PAUSE


def on_failure(
    default: Default,
) -> Callable[[Callable[Concatenate[str, P], Result]], Callable[Concatenate[str, P], Result | Default]]:
    """
    Decorate a function that asks Redis about a queue, its first argument, so that it never raises.

    After an error, it notes the failure and returns *default*: an error of one queue must not stop the others.
    """

    def decorate(ask: Callable[Concatenate[str, P], Result]) -> Callable[Concatenate[str, P], Result | Default]:
        @wraps(ask)
        def guarded(queue: str, /, *args: P.args, **kwargs: P.kwargs) -> Result | Default:
            try:
                return ask(queue, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - whatever it is, also a queue that RQ_QUEUES does not have
                note_failure(queue, error)
                return default

        return guarded

    return decorate


def end_pauses() -> None:
    """End the pauses of all queues."""
    _ends.clear()


@contextmanager
def without_pauses() -> Iterator[None]:
    """Run the block as if no queue had failed before it, and forget the failures in it, for example in a test."""
    before = dict(_ends)
    end_pauses()
    try:
        yield
    finally:
        end_pauses()
        _ends.update(before)
