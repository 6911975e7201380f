"""
The loop of a work-horse: execute one run after another while there are any.

A fork for each run costs more than most runs do.
"""

import os
import random
import signal
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError

from ..broker.fetch import FetchedJob, Fetcher
from ..broker.job import parse_job_id
from ..db.connections import close_connections
from ..execution import relay, runner
from ..execution.batch_claim import BatchClaim
from ..execution.stop import request_stop
from ..models import FeatureRun
from ..signals import logger
from ..text import console
from .lifetime import Lifetime
from .shared_status import SharedStatus
from .worker_pipe import WorkerEnded, WorkerPipe

#: The most runs that are claimed together, and the most seconds that one of them may take on average.
MAX_BATCH = 16
QUICK_SECONDS = 0.02


class WorkLoop:
    """Execute jobs in a work-horse until it is replaced or stopped."""

    def __init__(
        self, connection: Connection, shared_status: SharedStatus, *, fetcher: Fetcher, worker: str, max_runs: int
    ) -> None:
        self._pipe = WorkerPipe(connection)
        self._shared_status = shared_status
        self._fetcher = fetcher
        self._worker = worker
        self._max_runs = max_runs
        self._runs_left = max_runs  # until it must report to its worker
        self._lifetime = Lifetime()

    def serve(self) -> None:
        """Serve jobs until the worker ends, a stop is requested, or a limit is reached."""
        random.seed()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._stop)
        try:
            while not self._lifetime.is_over:
                self._serve(self._pipe.receive())
                if not self._lifetime.is_over:
                    self._pipe.report_idle()
        except WorkerEnded:
            return
        close_connections()

    def _stop(self, signum: int, frame: Any) -> None:
        """Handle SIGTERM from the worker, or from a supervisor that signals all processes: release the run."""
        request_stop()
        if self._pipe.is_waiting:
            os._exit(0)

    def _serve(self, job_id: str) -> None:
        """Serve this job and the jobs after it in the queue."""
        self._runs_left = self._max_runs
        batch_size = 1
        began = monotonic()
        done = self._run_sent(job_id)
        while True:
            # Batch only if another worker could not have started the last run sooner
            is_quick = monotonic() - began < QUICK_SECONDS * len(done)
            batch_size = min(2 * batch_size, MAX_BATCH, self._runs_left) if is_quick else 1
            jobs = self._fetch(done, batch_size)
            if not jobs:
                return
            began = monotonic()
            done = self._run_batch(jobs)

    def _fetch(self, done: list[str], most: int) -> list[FetchedJob]:
        """Delete the jobs *done* from Redis and return up to *most* others; none if the worker is to send the next."""
        try:
            if self._lifetime.is_over or not self._runs_left or self._pipe.has_worker_ended:
                self._fetcher.finish(done)
                return []
            jobs = self._fetcher.next(done, most=most)
        except RedisError as error:
            logger.warning("no next job: %s: %s; the worker tries again", type(error).__name__, error)
            return []
        self._shared_status.store_taken([job.job_id for job in jobs])
        return jobs

    def _run_sent(self, job_id: str) -> list[str]:
        """Serve the job that the worker sent and stored in the shared status. Return the ids of the jobs served."""
        self._run(*parse_job_id(job_id))
        self._note_end()
        return [job_id]

    def _run_batch(self, jobs: list[FetchedJob]) -> list[str]:
        """Serve the *jobs*. Return their ids, because all of them are done with now."""
        dispatches = [parse_job_id(job.job_id) for job in jobs]
        with BatchClaim(dispatches, worker=self._worker) as batch:
            for job, (run_id, dispatch_no) in zip(jobs, dispatches, strict=True):
                self._shared_status.store_running(job.job_id, job.timeout)
                if run_id not in batch.claimed:
                    self._run(run_id, dispatch_no)
                elif not self._lifetime.is_over and (run := batch.take(run_id)):
                    self._run_claimed(run)
                self._note_end()
        return [job.job_id for job in jobs]

    def _note_end(self) -> None:
        """Print what the tasks of a run have written, and store that no job is running."""
        console.flush()
        self._shared_status.clear_running()

    def _run(self, run_id: UUID, dispatch_no: int) -> None:
        """Claim and execute one run. An error ends the process, and the worker then recovers the run."""
        self._count()
        run = runner.run(run_id, dispatch_no, worker=self._worker)
        if run is not None:
            relay.dispatch_released(run)

    def _run_claimed(self, run: FeatureRun) -> None:
        self._count()
        runner.run_claimed(run)
        relay.dispatch_released(run)

    def _count(self) -> None:
        self._lifetime.count_run()
        self._runs_left -= 1
