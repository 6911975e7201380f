"""FeatureWorker: the RQ worker that we recommend, ``RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}``."""

import re
import signal
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import connections
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation
from rq.executions import Execution
from rq.job import Job, JobStatus

from . import runner
from .conf import conf
from .dispatch import JOB
from .losses import record_loss
from .models import FeatureRun
from .registry import registry
from .relay import Relay
from .signals import logger

JOB_ID = re.compile(r"numflow-(?P<run>[0-9a-f]{32})-(?P<number>[0-9]+)")


class FeatureJob(Job):
    """
    A job that runs our one function and nothing else, whatever its data say.

    Function and arguments come from the job's id; the data are never deserialised. So a job of any serializer works,
    and whoever can write to Redis can make a worker look for a run, and no more.
    """

    @property
    def doorbell(self) -> tuple[UUID, int]:
        """The run's id and the dispatch number. Raise ValueError if the job is not ours."""
        match = JOB_ID.fullmatch(self.id)
        if match is None:
            raise ValueError(f"job {self.id!r} is not a run of numflow_django; this worker runs nothing else")
        return UUID(match["run"]), int(match["number"])

    @property  # type: ignore[misc]
    def func_name(self) -> str:
        """Always the same function."""
        return JOB

    @property  # type: ignore[misc]
    def args(self) -> tuple[Any, ...]:
        """What the function is called with."""
        run_id, number = self.doorbell
        return (str(run_id), number)

    @property  # type: ignore[misc]
    def kwargs(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    @property  # type: ignore[misc]
    def instance(self) -> None:
        """No object's method is ever called."""
        return


class FeatureWorker(Worker):
    """
    Runs features' async tasks: takes the queue's own serializer, refuses all other jobs, and does the relay's work.

    For ``manage.py rqworker`` and ``rqworker-pool``. On SIGTERM the task that is running ends and the run is handed
    over to the next worker.
    """

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        kwargs["job_class"] = FeatureJob
        # rqworker passes pickle on unless it is told otherwise; the queue knows what its settings say
        serializers = {queue.serializer for queue in queues if isinstance(queue, Queue)} if queues else set()
        if serializers:
            kwargs["serializer"] = serializers.pop()
        kwargs["job_monitoring_interval"] = max(1, min(int(conf.RELAY_SECONDS), 10))
        super().__init__(queues, *args, **kwargs)
        for queue in self.queues:
            queue.job_class = FeatureJob
        self.relay = Relay()
        self.last_tick = -conf.RELAY_SECONDS
        if len(self.queues) > 1:
            logger.warning(
                "worker %s listens on %s queues: RQ takes jobs less safely then, and a lost one waits for the relay; "
                "start one worker for each queue",
                self.name,
                len(self.queues),
            )

    # The relay: between two jobs, and while one is running

    @property
    def dequeue_timeout(self) -> int:
        """Wake up for the relay also when no job comes."""
        return max(1, min(int(conf.RELAY_SECONDS), super().dequeue_timeout))

    def run_relay(self) -> None:
        """Tick, if it is time."""
        if monotonic() - self.last_tick < conf.RELAY_SECONDS:
            return
        self.last_tick = monotonic()
        try:
            self.relay.tick()
        except Exception:  # noqa: BLE001 - a database that is away must not end the worker
            logger.exception("relay failed worker=%s; trying again in %s s", self.name, conf.RELAY_SECONDS)
        finally:
            # A work-horse must not inherit a connection
            connections.close_all()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ calls this whenever it is awake: idle, between two jobs, and while a work-horse runs."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None and not self.is_horse:
            self.run_relay()

    # Jobs

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job of ours; refuse every other."""
        try:
            assert isinstance(job, FeatureJob)
            assert job.doorbell
        except ValueError as error:
            logger.error("job refused queue=%s: %s", queue.name, error)
            self.handle_job_failure(job, queue, exc_string=str(error))
            return
        super().execute_job(job, queue)

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Watch the work-horse, and see to what it left behind if it died."""
        super().monitor_work_horse(job, queue, execution)
        # os._exit(0) in a task: RQ takes it for a success that is still to be reported
        if self._is_unfinished(job):
            message = "its work-horse ended without a word"
            self.report_loss(job, message)
            self.handle_job_failure(job, queue, exc_string=message, execution=execution)

    def _is_unfinished(self, job: Job) -> bool:
        try:
            return job.get_status(refresh=True) == JobStatus.STARTED
        except InvalidJobOperation:
            return False  # finished and deleted, as result_ttl=0 wants it

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """Record the loss at once instead of waiting for the lease to end."""
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]
        self.report_loss(job, f"its work-horse was killed (wait status {ret_val})")

    def report_loss(self, job: Job, message: str) -> None:
        """Give back the run that the dead work-horse held, and dispatch it again."""
        assert isinstance(job, FeatureJob)
        run_id, _ = job.doorbell
        try:
            for alias in registry.databases():
                for run in FeatureRun.objects.using(alias).held_by(self.name, run_id):
                    record_loss(run, message, expired=False)
        except Exception:  # noqa: BLE001 - as above
            logger.exception("loss not recorded run=%s; the relay will see its lease end", run_id)
        self.last_tick = -conf.RELAY_SECONDS
        self.run_relay()

    # Shutdown

    def handle_warm_shutdown_request(self) -> None:
        """Tell the work-horse to stop after the task that is running."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        if self.horse_pid:
            self.kill_horse(sig=signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        """SIGTERM, from our parent or from a supervisor that signals the whole group, asks for a hand-over."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda signum, frame: runner.request_stop())
