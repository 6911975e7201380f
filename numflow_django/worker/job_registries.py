"""RQ's registries of jobs, which its dashboards show."""

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job

from ..signals import logger
from .shared_status import RunningJob

if TYPE_CHECKING:
    from rq.executions import Execution


class JobRegistries:
    """
    Show in RQ's registries what the work-horse of *worker* does.

    RQ enters each job. Here only a job that two checks find running is entered, because most runs are shorter.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._seen: RunningJob | None = None  # at the last check
        self._current: tuple[Job, Execution] | None = None  # the job in the registries
        self._last_beat = 0.0  # monotonic seconds

    def update(self, running: RunningJob | None) -> None:
        """Show the *running* job if the last check found it, too, and send the heartbeats."""
        is_long = running is not None and running == self._seen
        self._seen = running
        try:
            self._show(running) if running and is_long else self.clear()
            self._beat()
        except RedisError as error:
            # The run does not need Redis, so the worker keeps watching the work-horse
            logger.warning("no heartbeat worker=%s: %s: %s", self._worker.name, type(error).__name__, error)

    def clear(self) -> None:
        """Remove the current job."""
        if self._current is None:
            return
        job, execution = self._current
        self._current = None
        with self._worker.connection.pipeline() as pipeline:
            self._worker.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.delete(job.key)  # the work-horse has deleted it, but this worker's later writes would stay
            pipeline.execute()

    def fail(self, job_id: str, message: str) -> None:
        """Move the job to RQ's failed registry, where dashboards show it."""
        try:
            job = self._fetch(job_id)
            self._worker.handle_job_failure(
                job, Queue(job.origin, connection=self._worker.connection), exc_string=message
            )
        except (NoSuchJobError, RedisError) as error:
            logger.warning("job %s not shown as failed: %s: %s", job_id, type(error).__name__, error)

    def _show(self, running: RunningJob) -> None:
        """Enter this job as the worker's current one, and remove the previous one."""
        if self._current and self._current[0].id == running.job_id:
            return
        self.clear()
        with suppress(NoSuchJobError):
            job = self._fetch(running.job_id)
            self._current = job, self._worker.prepare_execution(job)
            self._worker.prepare_job_execution(job)

    def _beat(self) -> None:
        """Send RQ's heartbeats of the worker and of its current job if they are due."""
        if monotonic() - self._last_beat < self._worker.job_monitoring_interval:
            return
        self._last_beat = monotonic()
        if self._current:
            self._worker.maintain_heartbeats(*self._current)
        else:
            self._worker.heartbeat(self._worker.job_monitoring_interval + 60)

    def _fetch(self, job_id: str) -> Job:
        """Return the job. Raise NoSuchJobError if Redis does not have it."""
        worker = self._worker
        return worker.job_class.fetch(job_id, connection=worker.connection, serializer=worker.serializer)
