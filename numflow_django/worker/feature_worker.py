"""The recommended RQ worker: ``RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}``."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

from redis.exceptions import ConnectionError as RedisConnectionError
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.worker.base import WorkerStatus

from ..broker.feature_job import FeatureJob
from ..broker.fetch import Fetcher
from ..broker.job import parse_job_id
from ..conf import conf
from ..embedded import broker_hint
from ..execution.lost_runs import release_lost_runs
from ..signals import logger
from .job_registries import JobRegistries
from .lifetime import MAX_RUNS
from .name import check_name
from .registration import stay_registered
from .relay_clock import RelayClock
from .shared_status import SharedStatus
from .supervisor import Supervisor
from .work_horse import WorkHorse
from .work_loop import WorkLoop

#: Seconds between two checks of a busy work-horse. A job that two checks find running is entered in RQ's registries.
CHECK_SECONDS = 1.0

#: Seconds that a work-horse waits for one more job before it reports to its worker that there is none.
LINGER_SECONDS = 1.0


class FeatureWorker(Worker):
    """
    Run the async tasks of features and the relay, and refuse all other jobs.

    For ``manage.py rqworker`` and ``rqworker-pool``. It uses the serializer of its queue. One work-horse serves many
    runs. On SIGTERM it finishes the current task and releases the run to the next worker.
    """

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        check_name(name)
        kwargs["job_class"] = FeatureJob
        # rqworker passes pickle unless an option says otherwise; the queue has the serializer of the settings
        serializers = {queue.serializer for queue in queues if isinstance(queue, Queue)} if queues else set()
        if serializers:
            kwargs["serializer"] = serializers.pop()
        kwargs["job_monitoring_interval"] = max(1, min(int(conf.RELAY_SECONDS), 10))
        try:
            super().__init__(queues, name, *args, **kwargs)
        except RedisConnectionError as error:
            # rqworker prints this message and exits
            raise RedisConnectionError(f"{error} {broker_hint(error)}") from error
        for queue in self.queues:
            queue.job_class = FeatureJob
        self.relay_clock = RelayClock(self.name, prepare=lambda: stay_registered(self))
        self.supervisor = Supervisor(self.be_horse)
        self.job_registries = JobRegistries(self)
        self.linger = LINGER_SECONDS
        self.max_runs = MAX_RUNS
        if len(self.queues) > 1:
            logger.warning(
                "worker %s listens on %s queues: RQ takes jobs less safely then, and a lost one waits for the relay; "
                "start one worker for each queue",
                self.name,
                len(self.queues),
            )

    def work(self, burst: bool = False, *args: Any, **options: Any) -> bool:
        """Work as RQ's worker does, with the same options."""
        if burst:
            self.linger = 0
        if options.get("max_jobs") is not None:
            self.max_runs = 1  # RQ counts the jobs that it passes to execute_job()
        return bool(super().work(burst, *args, **options))

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Prepare as RQ does, then fork a work-horse for the first job."""
        super().bootstrap(*args, **kwargs)
        self.supervisor.fork()

    # The relay: between two jobs, and while one is running

    @property
    def dequeue_timeout(self) -> int:
        """Return the seconds to wait for a job: short enough to wake up for the relay."""
        return max(1, min(int(conf.RELAY_SECONDS), super().dequeue_timeout))

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Return whether to do maintenance. RQ asks between two jobs, or when none has come for a while."""
        return self.relay_clock.is_due or self.is_cleaning_due

    @property
    def is_cleaning_due(self) -> bool:
        """Return whether it is time for RQ's own maintenance."""
        return bool(super().should_run_maintenance_tasks)

    def run_maintenance_tasks(self) -> None:
        """Run RQ's own maintenance if it is due, then the relay."""
        if self.is_cleaning_due:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.run_relay()

    def run_relay(self) -> None:
        """Run one tick of the relay if it is due. Raise StopRequested if an idle worker is to stop."""
        if not self.relay_clock.is_due:
            return
        self.relay_clock.tick()
        if self._stop_requested and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    # Jobs

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Send a job of ours to the work-horse and wait until it has no more jobs. Refuse every other job."""
        try:
            parse_job_id(job.id)
        except ValueError as error:
            self.refuse(job, queue, str(error))
            return
        self.set_state(WorkerStatus.BUSY)
        horse = self.send(job)
        queue.intermediate_queue.remove(job.id)
        while not horse.wait(CHECK_SECONDS):
            self.supervisor.kill_if_stuck()
            self.job_registries.update(horse.shared_status.running)
            self.run_relay()
        self.job_registries.clear()
        if horse.has_ended:
            self.replace(horse)
        self.run_relay()
        self.set_state(WorkerStatus.IDLE)

    def refuse(self, job: Job, queue: Queue, message: str) -> None:
        """Move a job that is not ours to the failed registry."""
        logger.error("job refused queue=%s: %s", queue.name, message)
        self.handle_job_failure(job, queue, exc_string=message)
        queue.intermediate_queue.remove(job.id)

    def send(self, job: Job) -> WorkHorse:
        """Send a job to the work-horse."""
        horse = self.supervisor.send(job.id, float(job.timeout or 0))
        if self._stop_requested:
            self.supervisor.stop_after_task()  # requested before the work-horse had this job
        return horse

    def be_horse(self, pipe: Connection, shared_status: SharedStatus) -> None:
        """Serve jobs in the child process."""
        self._is_horse = True
        self.procline(f"Serving {', '.join(self.queue_names())}")  # type: ignore[no-untyped-call]
        fetcher = Fetcher(self.queues, self.connection, linger=self.linger)
        WorkLoop(pipe, shared_status, fetcher=fetcher, worker=self.name, max_runs=self.max_runs).serve()

    def replace(self, horse: WorkHorse) -> None:
        """Recover what a work-horse that has ended left behind, and fork another one."""
        self.supervisor.forget()
        running = horse.shared_status.running
        if running or horse.wait_status:
            message = f"its work-horse ended before the run did (wait status {horse.wait_status})"
            if running:
                self.job_registries.fail(running.job_id, message)
            self.release_lost_runs([running.job_id] if running else [], horse.shared_status.taken, message)
        if not self._stop_requested:
            self.supervisor.fork()

    def release_lost_runs(self, begun: Iterable[str], taken: Iterable[str], message: str) -> None:
        """Release the runs of these jobs, and let the next relay enqueue them at once."""
        run_ids = {run_id for run_id, _ in _runs(begun)}
        if release_lost_runs(self.name, begun=run_ids, taken=list(_runs(taken)), message=message):
            self.relay_clock.make_due()

    # Shutdown

    @property
    def horse_pid(self) -> int:
        """Return the process id of the work-horse, or 0. RQ's cold shutdown kills it."""
        return self.supervisor.pid

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the work-horse. RQ's own method kills the worker's process group if there is no work-horse."""
        self.supervisor.kill(sig)

    def _shutdown(self) -> None:
        """Stop at once when idle, or after the current job when busy."""
        if self.relay_clock.is_ticking and self.get_state() != WorkerStatus.BUSY:
            # RQ would raise StopRequested, an Exception, which the relay would treat as its own failure
            self._stop_requested = True
        else:
            super()._shutdown()  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        """Handle the first stop signal: also ask the work-horse to stop after the current task."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self.supervisor.stop_after_task()

    def teardown(self) -> None:
        """Stop the work-horse, then call RQ's own teardown."""
        if not self._is_horse:
            self.supervisor.end_after_run()
        super().teardown()  # type: ignore[no-untyped-call]


def _runs(job_ids: Iterable[str]) -> Iterator[tuple[UUID, int]]:
    """Yield the run id and the dispatch number of each job."""
    for job_id in job_ids:
        # A work-horse that was killed while it wrote leaves an id that no job has
        with suppress(ValueError):
            yield parse_job_id(job_id)
