"""Our own keys in a queue's Redis: whether it has lost its data, and which process acts for all."""

from .pauses import on_failure
from .queues import queue_named

#: A key in each queue's Redis. If it is missing, Redis has lost its data.
MARK = "numflow:mark:%s"

#: A key that exists while one worker has taken the relay's turn.
TURN = "numflow:turn:%s"

#: A key that exists while the warning about a queue must not be repeated.
WARNED = "numflow:warned:%s"


@on_failure(None)
def mark(queue: str) -> bool:
    """
    Set a mark in the queue's Redis. Return whether it was missing because Redis has lost its data or is new.

    Return None if Redis cannot be reached.
    """
    return bool(queue_named(queue).connection.set(MARK % queue, "1", nx=True))


@on_failure(None)
def unmark(queue: str) -> None:
    """Delete the mark, so that the next relay checks every queued run."""
    queue_named(queue).connection.delete(MARK % queue)


@on_failure(False)
def take_turn(queue: str, seconds: float, *, key: str = TURN) -> bool:
    """Return whether the caller takes the turn that one process of a queue gets in *seconds*; *key* says which turn."""
    return bool(queue_named(queue).connection.set(key % queue, "1", nx=True, px=int(seconds * 1000)))
