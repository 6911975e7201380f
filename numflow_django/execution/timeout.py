"""Limit the time of a call in the main thread, even if the code swallows ``Exception``."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from ..exceptions import TaskTimeout

T = TypeVar("T")

#: Seconds between repeated interruptions, for code that swallows even BaseException.
REPEAT = 1.0


class InterruptedCalls:
    """How many calls this process has interrupted."""

    count = 0


class Expired(BaseException):
    """The alarm raises this. It is a BaseException, so that ``except Exception`` in a task does not swallow it."""


def call_with_limit(function: Callable[[], T], *, seconds: float, name: str) -> T:
    """
    Return ``function()``. Raise TaskTimeout, whose message begins with *name*, if it takes longer than *seconds*.

    Outside the main thread there is no limit, because Python handles signals in the main thread only. An alarm that
    was set before, such as that of RQ's work-horse, continues afterwards with the rest of its time.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    alarm = _Alarm(seconds)
    try:
        try:
            alarm.set()
            return function()
        finally:
            alarm.restore()
    except Expired as expired:
        # The alarm may have gone off in the "finally" itself, before it was restored
        alarm.restore()
        InterruptedCalls.count += 1
        raise TaskTimeout(
            f"{name} exceeded its timeout of {seconds:g} s; raise it with @async_task(timeout=...), or do less"
        ) from expired


class _Alarm:
    """The alarm of one call, and the one that was set before."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = time.monotonic()
        self.restored = False
        self.earlier_handler: Any = signal.getsignal(signal.SIGALRM)
        self.earlier_left = self.earlier_interval = 0.0  # seconds; 0: no alarm was set

    def set(self) -> None:
        signal.signal(signal.SIGALRM, self._expire)
        self.earlier_left, self.earlier_interval = signal.setitimer(signal.ITIMER_REAL, self.seconds, REPEAT)

    def restore(self) -> None:
        if self.restored:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.restored = True
        signal.signal(signal.SIGALRM, self.earlier_handler)
        if self.earlier_left:
            # More than 0, which would switch off an earlier alarm that is due
            left = max(0.001, self.earlier_left - (time.monotonic() - self.began))
            signal.setitimer(signal.ITIMER_REAL, left, self.earlier_interval)

    def _expire(self, signum: int, frame: FrameType | None) -> None:
        if not self.restored:
            raise Expired
