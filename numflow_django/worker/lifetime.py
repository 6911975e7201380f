"""How long a work-horse lives: users' code may leak memory, so it is replaced from time to time."""

import resource
import sys
from time import monotonic

from ..execution.stop import Stop
from ..execution.timeout import InterruptedCalls

#: The limits after which a work-horse is replaced: runs, seconds, and bytes of memory that it has grown by.
MAX_RUNS = 1_000
MAX_SECONDS = 600.0
MAX_GROWTH = 256 * 2**20


class Lifetime:
    """Decide when this process has done enough."""

    def __init__(self) -> None:
        self._runs = 0
        self._began = monotonic()
        self._size = _size()

    def count_run(self) -> None:
        """Count a run that begins."""
        self._runs += 1

    @property
    def is_over(self) -> bool:
        """Return whether to begin no other run."""
        return (
            Stop.requested
            or self._runs >= MAX_RUNS
            or monotonic() - self._began > MAX_SECONDS
            or _size() - self._size > MAX_GROWTH
            or InterruptedCalls.count > 0  # their code may have left any state
        )


def _size() -> int:
    """Return the peak memory of this process in bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
