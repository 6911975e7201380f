"""Ctrl+C and SIGTERM."""

import signal
from types import FrameType


class Interrupted(Exception):
    """The user or the system wants the demo to end."""


class Interrupt:
    """
    Stores that the demo must end. Code that waits calls check().

    Python raises KeyboardInterrupt in any line, and it is lost if the line is in a callback, such as one of an import.
    A second Ctrl+C raises it anyway.
    """

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._remember)

    def check(self) -> None:
        """Raise Interrupted if the demo must end."""
        if self._came:
            raise Interrupted

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
