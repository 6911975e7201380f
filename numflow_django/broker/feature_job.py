"""The class of our jobs in a worker: it uses only the job's id."""

from typing import Any

from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.utils import as_text

from ..signals import logger
from .job import JOB, parse_job_id

#: The fields of a job's hash in Redis that RQ may read.
BOOKKEEPING = frozenset(
    {
        *("data", "origin", "description", "status", "worker_name", "timeout", "result_ttl", "failure_ttl"),
        *("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat"),
    }
)


class FeatureJob(Job):
    """
    A job that runs our one function and nothing else, whatever its data contain.

    The arguments come from the job's id, and the data are never deserialised. So a job of any serializer works, and a
    client that can write to Redis can only make a worker look for a run.
    """

    def restore(self, raw_data: Any) -> Any:
        """Read the fields that RQ's bookkeeping needs, and none that RQ would unpickle, import, call or connect to."""
        kept = {name: value for name, value in raw_data.items() if as_text(name) in BOOKKEEPING}
        try:
            return super().restore(kept)
        except (ValueError, TypeError, AttributeError) as error:
            # RQ skips a job that does not exist; any other error would end this worker, and then the next one
            logger.error("job refused: the hash of %r is not one of RQ's: %s", self.id, error)
            raise NoSuchJobError(f"job {self.id!r} is unreadable") from error

    @property  # type: ignore[misc]
    def func_name(self) -> str:
        """Return the dotted path of our one function."""
        return JOB

    @property  # type: ignore[misc]
    def args(self) -> tuple[Any, ...]:
        """Return the run's id, as text, and the dispatch number."""
        run_id, number = parse_job_id(self.id)
        return (str(run_id), number)

    @property  # type: ignore[misc]
    def kwargs(self) -> dict[str, Any]:
        """Return no keyword arguments."""
        return {}

    @property  # type: ignore[misc]
    def instance(self) -> None:
        """Return None, so that RQ never calls a method of an object."""
        return
