"""The status of a work-horse in shared memory, which its worker can read even after the work-horse has died."""

import mmap
import struct
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

#: Seconds beyond a job's own limit after which the worker kills the work-horse, whose own alarm has not worked.
STUCK_SECONDS = 60
#: The running job: start (monotonic seconds), limit (seconds), and its id, padded with NULs.
RUNNING = struct.Struct("=dd96s")
#: The ids of the jobs that were taken together, one on each line.
TAKEN = struct.Struct("=4096s")


class RunningJob(NamedTuple):
    """The job that the work-horse runs."""

    job_id: str  # RQ's
    began: float  # monotonic seconds, the same clock for all processes of a host
    limit: float  # seconds that the job may take

    @property
    def is_overdue(self) -> bool:
        """Return whether the job counts as stuck."""
        return monotonic() - self.began > self.limit + STUCK_SECONDS


class SharedStatus:
    """A small block of memory that a worker shares with its work-horse."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, RUNNING.size + TAKEN.size)

    def store_taken(self, job_ids: Sequence[str]) -> None:
        """Store the ids of the jobs that were taken together."""
        TAKEN.pack_into(self._memory, RUNNING.size, "\n".join(job_ids).encode())

    def store_running(self, job_id: str, limit: float) -> None:
        """Store that this job begins, with its *limit* in seconds."""
        RUNNING.pack_into(self._memory, 0, monotonic(), limit, job_id.encode())

    def clear_running(self) -> None:
        """Store that no job is running."""
        RUNNING.pack_into(self._memory, 0, 0.0, 0.0, b"")

    @property
    def running(self) -> RunningJob | None:
        """Return the running job, or None."""
        began, limit, padded = RUNNING.unpack_from(self._memory)
        job_id = _text(padded)
        return RunningJob(job_id, began, limit) if job_id else None

    @property
    def taken(self) -> list[str]:
        """Return the ids of the jobs that were taken together."""
        (padded,) = TAKEN.unpack_from(self._memory, RUNNING.size)
        return _text(padded).splitlines()


def _text(padded: bytes) -> str:
    # A process that was killed while it wrote leaves an id that no job has
    return padded.rstrip(b"\0").decode(errors="replace")
