"""
The loop of a work-horse: execute one run after another while there are any.

A fork for each run costs more than most runs do. A work-horse is still replaced from time to time, because users' code
may leak memory.
"""

import os
import random
import resource
import signal
import sys
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
from ..execution.timeout import Timeouts
from ..models import FeatureRun, RunState
from ..signals import logger
from ..text import console
from .shared_status import SharedStatus
from .work_horse import AT_REST

#: The limits after which a work-horse is replaced: runs, seconds, and bytes of memory that it has grown by.
MAX_RUNS = 1_000
MAX_SECONDS = 600.0
MAX_GROWTH = 256 * 2**20

#: Seconds beyond a job's own limit after which the worker kills the work-horse, whose own alarm has not worked.
STUCK_SECONDS = 60

#: The most runs that are claimed together, and the most seconds that one of them may take on average.
MAX_PORTION = 16
QUICK_SECONDS = 0.02

#: Seconds without a run after which a work-horse closes its database connections.
IDLE_SECONDS = 10.0


class WorkLoop:
    """Execute jobs in a work-horse until it is replaced or stopped."""

    def __init__(self, pipe: Connection, board: SharedStatus, *, intake: Fetcher, worker: str, max_runs: int) -> None:
        self._pipe = pipe
        self._board = board
        self._intake = intake
        self._worker = worker
        self._runs_left = max_runs  # until it must report to its worker
        self._max_runs = max_runs
        self._parent = os.getppid()
        self._is_waiting = False
        self._runs = 0
        self._began = monotonic()
        self._size = _size()

    def serve(self) -> None:
        """Serve jobs until the worker ends, a stop is requested, or a limit is reached."""
        random.seed()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._stop)
        while not self._is_over:
            name = self._awaited()
            if name is None:
                return
            self._serve(name)
            if not self._is_over:
                self._pipe.send_bytes(AT_REST)
        close_connections()

    def _stop(self, signum: int, frame: Any) -> None:
        """Handle SIGTERM from the worker, or from a supervisor that signals all processes: hand over the run."""
        runner.request_stop()
        if self._is_waiting:
            os._exit(0)

    def _awaited(self) -> str | None:
        """Return the job that the worker sends, or None if the worker has ended."""
        self._is_waiting = True
        try:
            while not self._pipe.poll(IDLE_SECONDS):
                close_connections()
                if os.getppid() != self._parent:
                    return None
            name = self._pipe.recv_bytes().decode()
        except EOFError:
            return None
        self._is_waiting = False
        return name

    def _serve(self, name: str) -> None:
        """Serve the job *name* and the jobs after it in the queue."""
        self._runs_left = self._max_runs
        portion, jobs = 1, [FetchedJob(name, 0)]  # the worker has already stored its limit in the shared status
        while jobs:
            began = monotonic()
            done = self._run_all(jobs)
            # Batch only if another worker could not have started the last run sooner
            is_quick = monotonic() - began < QUICK_SECONDS * len(jobs)
            portion = min(2 * portion, MAX_PORTION, self._runs_left) if is_quick else 1
            jobs = self._next(done, portion)

    def _next(self, done: list[str], most: int) -> list[FetchedJob]:
        try:
            if self._is_over or not self._runs_left or os.getppid() != self._parent:
                self._intake.finish(done)
                return []
            jobs = self._intake.next(done, most=most)
        except RedisError as error:
            logger.warning("no next job: %s: %s; the worker tries again", type(error).__name__, error)
            return []
        self._board.note_taken([job.name for job in jobs])
        return jobs

    def _run_all(self, jobs: list[FetchedJob]) -> list[str]:
        """Serve the *jobs*. Return their ids, because all of them are done with now."""
        announced_jobs = [parse_job_id(job.name) for job in jobs]
        with BatchClaim(announced_jobs, worker=self._worker) as ahead:
            for job, (run_id, number) in zip(jobs, announced_jobs, strict=True):
                if job.timeout:
                    self._board.write(job.name, job.timeout + STUCK_SECONDS)
                if run_id not in ahead.claimed:
                    self._run(run_id, number)
                elif not self._is_over and (run := ahead.take(run_id)):
                    self._run_claimed(run)
                console.flush()  # the output of its tasks
                self._board.wipe()
        return [job.name for job in jobs]

    def _run(self, run_id: UUID, number: int) -> None:
        """Serve one job. An error ends the process, and the worker then recovers the run."""
        self._count()
        run = runner.run(run_id, number, worker=self._worker)
        if run is not None:
            self._enqueue_again(run)

    def _run_claimed(self, run: FeatureRun) -> None:
        self._count()
        runner.run_claimed(run)
        self._enqueue_again(run)

    def _count(self) -> None:
        self._runs += 1
        self._runs_left -= 1

    def _enqueue_again(self, run: FeatureRun) -> None:
        if run.state == RunState.PENDING:
            relay.dispatch_due(run)  # handed over

    @property
    def _is_over(self) -> bool:
        return (
            runner.Stop.requested
            or self._runs >= MAX_RUNS
            or monotonic() - self._began > MAX_SECONDS
            or _size() - self._size > MAX_GROWTH
            or Timeouts.count > 0  # the code that was interrupted may have left any state
        )


def _size() -> int:
    """Return the peak memory of this process in bytes."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
