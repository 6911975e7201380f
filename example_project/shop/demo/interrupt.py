"""Ctrl+C and SIGTERM."""

import signal
from types import FrameType


class Interrupted(Exception):
    """The user, or the system, wants the demo to end."""


class Interrupt:
    """
    Remembers that the demo is to end; waiting code calls check().

    The KeyboardInterrupt that Python raises in any line at all is lost if the line is in a callback, such as those of
    an import. A second Ctrl+C raises it nevertheless.
    """

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._remember)

    def check(self) -> None:
        """Raise Interrupted if it came."""
        if self._came:
            raise Interrupted

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
