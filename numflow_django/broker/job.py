"""The job of a run as a worker sees it: its id is all that it says."""

import re
from typing import Any
from uuid import UUID

from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.utils import as_text

from ..signals import logger
from .dispatch import JOB

JOB_ID = re.compile(r"numflow-(?P<run>[0-9a-f]{32})-(?P<number>[0-9]+)")

#: What a job's hash in Redis may tell RQ.
BOOKKEEPING = frozenset(
    {
        *("data", "origin", "description", "status", "worker_name", "timeout", "result_ttl", "failure_ttl"),
        *("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat"),
    }
)


def doorbell(name: str) -> tuple[UUID, int]:
    """The run's id and the dispatch number that the job's id *name* holds. Raise ValueError if the job is not ours."""
    match = JOB_ID.fullmatch(name)
    if match is None:
        raise ValueError(f"job {name!r} is not a run of numflow_django; this worker runs nothing else")
    return UUID(match["run"]), int(match["number"])


class FeatureJob(Job):
    """
    A job that runs our one function and nothing else, whatever its data say.

    Function and arguments come from the job's id; the data are never deserialised. So a job of any serializer works,
    and whoever can write to Redis can make a worker look for a run, and no more.
    """

    def restore(self, raw_data: Any) -> Any:
        """Take from Redis what RQ's bookkeeping needs, and nothing that it would unpickle, import, call or send to."""
        kept = {name: value for name, value in raw_data.items() if as_text(name) in BOOKKEEPING}
        try:
            return super().restore(kept)
        except (ValueError, TypeError, AttributeError) as error:
            # RQ passes over a job that does not exist; any other error would end the worker, and the next one
            logger.error("job refused: the hash of %r is not one of RQ's: %s", self.id, error)
            raise NoSuchJobError(f"job {self.id!r} is unreadable") from error

    @property  # type: ignore[misc]
    def func_name(self) -> str:
        """Always the same function."""
        return JOB

    @property  # type: ignore[misc]
    def args(self) -> tuple[Any, ...]:
        """What the function is called with."""
        run_id, number = doorbell(self.id)
        return (str(run_id), number)

    @property  # type: ignore[misc]
    def kwargs(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    @property  # type: ignore[misc]
    def instance(self) -> None:
        """No object's method is ever called."""
        return
