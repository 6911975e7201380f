"""What a work-horse is at, where its worker can read it even after it has died."""

import mmap
import struct
from time import monotonic
from typing import NamedTuple

#: Begun (monotonic seconds), the limit (seconds), and the job's id, padded with NULs.
LAYOUT = struct.Struct("=dd96s")


class Entry(NamedTuple):
    """A job at work."""

    name: str  # the RQ job's id
    began: float  # monotonic seconds, which all processes of a machine share
    limit: float  # seconds after which it is stuck

    @property
    def is_overdue(self) -> bool:
        """Whether its time is up."""
        return monotonic() - self.began > self.limit


class Board:
    """One line in memory that a worker shares with its work-horse."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, LAYOUT.size)

    def write(self, name: str, limit: float) -> None:
        """Say that a job begins."""
        LAYOUT.pack_into(self._memory, 0, monotonic(), limit, name.encode())

    def wipe(self) -> None:
        """Say that none is at work."""
        LAYOUT.pack_into(self._memory, 0, 0.0, 0.0, b"")

    def read(self) -> Entry | None:
        """The job at work, if there is one."""
        began, limit, name = LAYOUT.unpack_from(self._memory)
        # A process that was killed in the middle of a line leaves one that no job bears
        text = name.rstrip(b"\0").decode(errors="replace")
        return Entry(text, began, limit) if text else None
