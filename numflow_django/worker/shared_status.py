"""The status of a work-horse in shared memory, which its worker can read even after the work-horse has died."""

import mmap
import struct
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

#: Start (monotonic seconds), limit (seconds), and the job's id, padded with NULs.
LINE = struct.Struct("=dd96s")
#: The ids of the jobs that were taken together, one on each line.
LIST = struct.Struct("=4096s")


class RunningJob(NamedTuple):
    """The job that the work-horse runs."""

    name: str  # the RQ job's id
    began: float  # monotonic seconds, the same clock for all processes of a host
    limit: float  # seconds after which it counts as stuck

    @property
    def is_overdue(self) -> bool:
        """Return whether the job has exceeded its limit."""
        return monotonic() - self.began > self.limit


class SharedStatus:
    """A small block of memory that a worker shares with its work-horse."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, LINE.size + LIST.size)

    def note_taken(self, names: Sequence[str]) -> None:
        """Store the ids of the jobs that were taken together."""
        LIST.pack_into(self._memory, LINE.size, "\n".join(names).encode())

    def write(self, name: str, limit: float) -> None:
        """Store that the job *name* begins, with its *limit* in seconds."""
        LINE.pack_into(self._memory, 0, monotonic(), limit, name.encode())

    def wipe(self) -> None:
        """Store that no job is running."""
        LINE.pack_into(self._memory, 0, 0.0, 0.0, b"")

    def read(self) -> RunningJob | None:
        """Return the running job, or None."""
        began, limit, name = LINE.unpack_from(self._memory)
        text = _text(name)
        return RunningJob(text, began, limit) if text else None

    @property
    def taken(self) -> list[str]:
        """Return the ids of the jobs that were taken together."""
        (names,) = LIST.unpack_from(self._memory, LINE.size)
        return _text(names).splitlines()


def _text(padded: bytes) -> str:
    # A process that was killed while it wrote leaves an id that no job has
    return padded.rstrip(b"\0").decode(errors="replace")
