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
def set_mark(queue: str) -> bool:
    """
    Set the mark in the queue's Redis. Return True if it was missing, because Redis has lost its data or is new.

    Return None if Redis cannot be reached.
    """
    return bool(queue_named(queue).connection.set(MARK % queue, "1", nx=True))


@on_failure(None)
def delete_mark(queue: str) -> None:
    """Delete the mark, so that the next relay checks every queued run."""
    queue_named(queue).connection.delete(MARK % queue)


@on_failure(False)
def take_turn(queue: str, seconds: float, *, key: str = TURN) -> bool:
    """Return True for the first caller within *seconds* and False for all others; *key* names their turn."""
    return bool(queue_named(queue).connection.set(key % queue, "1", nx=True, px=int(seconds * 1000)))
