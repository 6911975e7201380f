"""What a work-horse is at, where its worker can read it even after it has died."""

import mmap
import struct
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

#: Begun (monotonic seconds), the limit (seconds), and the job's id, padded with NULs.
LINE = struct.Struct("=dd96s")
#: The ids of the jobs that were taken together, a line each.
LIST = struct.Struct("=4096s")


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
    """A little memory that a worker shares with its work-horse."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, LINE.size + LIST.size)

    def note_taken(self, names: Sequence[str]) -> None:
        """Say which jobs were taken, to be served one after another."""
        LIST.pack_into(self._memory, LINE.size, "\n".join(names).encode())

    def write(self, name: str, limit: float) -> None:
        """Say that a job begins."""
        LINE.pack_into(self._memory, 0, monotonic(), limit, name.encode())

    def wipe(self) -> None:
        """Say that none is at work."""
        LINE.pack_into(self._memory, 0, 0.0, 0.0, b"")

    def read(self) -> Entry | None:
        """The job at work, if there is one."""
        began, limit, name = LINE.unpack_from(self._memory)
        text = _text(name)
        return Entry(text, began, limit) if text else None

    @property
    def taken(self) -> list[str]:
        """The jobs that were taken together."""
        (names,) = LIST.unpack_from(self._memory, LINE.size)
        return _text(names).splitlines()


def _text(padded: bytes) -> str:
    # A process that was killed in the middle of a line leaves one that no job bears
    return padded.rstrip(b"\0").decode(errors="replace")
