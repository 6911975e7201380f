"""FeatureWorker: the RQ worker that we recommend, ``RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}``."""

import os
import re
import signal
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import connections
from redis.exceptions import ConnectionError as RedisConnectionError
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation, NoSuchJobError, StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import as_text
from rq.worker.base import WorkerStatus

from . import runner
from .conf import conf
from .dispatch import JOB
from .embedded import SOCKET
from .losses import record_loss
from .models import FeatureRun, FeatureRunQuerySet
from .registry import registry
from .relay import Relay
from .signals import logger

JOB_ID = re.compile(r"numflow-(?P<run>[0-9a-f]{32})-(?P<number>[0-9]+)")


#: What a job's hash in Redis may tell RQ.
BOOKKEEPING = frozenset(
    {
        *("data", "origin", "description", "status", "worker_name", "timeout", "result_ttl", "failure_ttl"),
        *("created_at", "enqueued_at", "started_at", "ended_at", "last_heartbeat"),
    }
)


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
        try:
            super().__init__(queues, *args, **kwargs)
        except RedisConnectionError as error:
            # rqworker prints the message and ends
            hint = " Start the embedded broker: manage.py numflow_broker." if SOCKET in str(error) else ""
            raise RedisConnectionError(f"{error}{hint}") from error
        for queue in self.queues:
            queue.job_class = FeatureJob
        self.relay = Relay()
        self.last_tick = -conf.RELAY_SECONDS
        self.is_in_relay = False
        self.wait_status: int | None = None  # of the last work-horse
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

    @property
    def is_tick_due(self) -> bool:
        """Whether it is time for the relay."""
        return monotonic() - self.last_tick >= conf.RELAY_SECONDS

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """RQ asks this between two jobs, and whenever none has come for a while; it has no job in its hands then."""
        return self.is_tick_due or self.is_cleaning_due

    @property
    def is_cleaning_due(self) -> bool:
        """Whether it is time for RQ's own maintenance."""
        return bool(super().should_run_maintenance_tasks)

    def run_maintenance_tasks(self) -> None:
        """RQ's own, now and then, and the relay's."""
        if self.is_cleaning_due:
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.run_relay()

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """RQ calls this while a work-horse runs."""
        super().maintain_heartbeats(job, execution)
        self.run_relay()

    def run_relay(self) -> None:
        """Tick, if it is time."""
        if not self.is_tick_due:
            return
        self.last_tick = monotonic()
        self.is_in_relay = True
        try:
            self.relay.tick()
        except Exception:  # noqa: BLE001 - a database that is away must not end the worker
            logger.exception("relay failed worker=%s; trying again in %s s", self.name, conf.RELAY_SECONDS)
        finally:
            self.is_in_relay = False
            # A work-horse must not inherit a connection
            connections.close_all()
        if self._stop_requested and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    # Jobs

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job of ours; refuse every other."""
        try:
            assert isinstance(job, FeatureJob)
            assert job.doorbell
        except ValueError as error:
            logger.error("job refused queue=%s: %s", queue.name, error)
            self.handle_job_failure(job, queue, exc_string=str(error))
            queue.intermediate_queue.remove(job.id)
            return
        super().execute_job(job, queue)

    def wait_for_horse(self) -> tuple[Any, ...]:
        """Wait for the work-horse, and remember how it ended."""
        ended = super().wait_for_horse()
        self.wait_status = ended[1]
        return ended

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Watch the work-horse, and see to what it left behind if it died."""
        if self._stop_requested:
            self.stop_horse()  # asked for while there was no work-horse to tell
        super().monitor_work_horse(job, queue, execution)
        status = self._status(job)
        if status is None and self.wait_status == os.EX_OK:
            return  # finished and deleted, as result_ttl=0 wants it
        message = f"its work-horse ended before the run did (wait status {self.wait_status})"
        self.report_loss(job, message)
        if status == JobStatus.STARTED:
            # os._exit(0) in a task: RQ takes it for a success that is still to be reported
            self.handle_job_failure(job, queue, exc_string=message, execution=execution)

    def _status(self, job: Job) -> JobStatus | None:
        try:
            return job.get_status(refresh=True)
        except InvalidJobOperation:
            return None

    def report_loss(self, job: Job, message: str) -> None:
        """Give back at once the run that the dead work-horse held, instead of waiting for its lease to end."""
        assert isinstance(job, FeatureJob)
        run_id, number = job.doorbell
        try:
            for alias in registry.databases():
                runs = FeatureRun.objects.using(alias)
                if self._is_loss_recorded(runs, run_id, message):
                    self.last_tick = -conf.RELAY_SECONDS
                # It may have died before its claim. The relay's next tick is soon enough, and no endless loop
                for run in runs.queued().filter(pk=run_id, dispatch_no=number):
                    run.undispatch()
        except Exception:  # noqa: BLE001 - as above
            logger.exception("loss not recorded run=%s; the relay will see its lease end", run_id)
        finally:
            connections.close_all()
        self.run_relay()

    def _is_loss_recorded(self, runs: FeatureRunQuerySet, run_id: UUID, message: str) -> bool:
        # Again where the dead one's last COMMIT was still under way
        for _ in range(3):
            held = runs.held_by(self.name, run_id).first()
            if held is None or record_loss(held, message, expired=False):
                return held is not None
        return False

    # Shutdown

    def _shutdown(self) -> None:
        """Stop at once when idle, and after the job when busy."""
        if self.is_in_relay and self.get_state() != WorkerStatus.BUSY:
            # RQ would raise StopRequested, an Exception, and the relay take it for a failure of its own
            self._stop_requested = True
        else:
            super()._shutdown()  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        """Tell the work-horse to stop after the task that is running."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self.stop_horse()

    def stop_horse(self) -> None:
        """Ask the work-horse, and none of the programs that its task has started, to hand its run over."""
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)

    def setup_work_horse_signals(self) -> None:
        """SIGTERM, from our parent or from a supervisor that signals the whole group, asks for a hand-over."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda signum, frame: runner.request_stop())
        if self._stop_requested:
            runner.request_stop()  # it came before there was a handler of ours
