"""The recommended RQ worker: ``RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}``."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from rq import Queue, Worker, worker_registration
from rq.exceptions import NoSuchJobError, StopRequested
from rq.job import Job
from rq.worker.base import WorkerStatus

from ..broker.fetch import Fetcher
from ..broker.job import FeatureJob, parse_job_id
from ..conf import conf
from ..db.connections import close_connections
from ..db.lengths import WORKER_LENGTH
from ..discovery.registry import registry
from ..embedded import broker_hint
from ..exceptions import ClaimLost
from ..execution.recovery import record_loss
from ..execution.relay import Relay
from ..models import FeatureRun, FeatureRunQuerySet
from ..signals import logger
from .shared_status import RunningJob, SharedStatus
from .work_horse import WorkHorse
from .work_loop import MAX_RUNS, STUCK_SECONDS, WorkLoop

if TYPE_CHECKING:
    from rq.executions import Execution

#: Seconds between two checks of a busy work-horse. A job that two checks find running is entered in RQ's registries.
LOOK_SECONDS = 1.0

#: Seconds that a work-horse waits for one more job before it reports to its worker that there is none.
LINGER_SECONDS = 1.0


class FeatureWorker(Worker):
    """
    Run the async tasks of features and the relay, and refuse all other jobs.

    For ``manage.py rqworker`` and ``rqworker-pool``. It uses the serializer of its queue. One work-horse serves many
    runs. On SIGTERM it finishes the current task and hands the run over to the next worker.
    """

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        _check_name(name)
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
        self.relay = Relay()
        self.last_tick = -conf.RELAY_SECONDS
        self.last_beat = 0.0
        self.is_in_relay = False
        self.horse: WorkHorse | None = None
        self.linger = LINGER_SECONDS
        self.max_runs = MAX_RUNS
        self.seen: RunningJob | None = None  # the job of the work-horse at the last check
        self.shown: tuple[Job, Execution] | None = None  # its job in RQ's registries
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
            self.max_runs = 1  # RQ counts the jobs that it hands out
        return bool(super().work(burst, *args, **options))

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Prepare as RQ does, then fork a work-horse for the first job."""
        super().bootstrap(*args, **kwargs)
        self.horse = self.new_horse()

    # The relay: between two jobs, and while one is running

    @property
    def dequeue_timeout(self) -> int:
        """Return the seconds to wait for a job: short enough to wake up for the relay."""
        return max(1, min(int(conf.RELAY_SECONDS), super().dequeue_timeout))

    @property
    def is_tick_due(self) -> bool:
        """Return whether it is time for the relay."""
        return monotonic() - self.last_tick >= conf.RELAY_SECONDS

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """Return whether to do maintenance. RQ asks between two jobs, or when none has come for a while."""
        return self.is_tick_due or self.is_cleaning_due

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
        """Run one tick of the relay if it is due."""
        if not self.is_tick_due:
            return
        self.last_tick = monotonic()
        self.is_in_relay = True
        try:
            self.stay_registered()
            self.relay.tick()
        except Exception:  # noqa: BLE001 - a database that is down must not end the worker
            logger.exception("relay failed worker=%s; trying again in %s s", self.name, conf.RELAY_SECONDS)
        finally:
            self.is_in_relay = False
            # A work-horse must not inherit a connection
            close_connections()
        if self._stop_requested and self.get_state() != WorkerStatus.BUSY:
            raise StopRequested

    def stay_registered(self) -> None:
        """Register again after Redis has lost its data, or relays would warn that the queue has no worker."""
        try:
            is_listed = self.connection.sismember(self.redis_workers_keys, self.key)
            if not is_listed and not self._stop_requested:
                self.connection.hset(self.key, mapping=self.serialize())
                worker_registration.register(self)
                self.heartbeat()
        except RedisError as error:
            logger.warning("not registered worker=%s: %s: %s", self.name, type(error).__name__, error)

    # Jobs

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Send a job of ours to the work-horse and wait until it has no more. Refuse every other job."""
        try:
            parse_job_id(job.id)
        except ValueError as error:
            logger.error("job refused queue=%s: %s", queue.name, error)
            self.handle_job_failure(job, queue, exc_string=str(error))
            queue.intermediate_queue.remove(job.id)
            return
        self.set_state(WorkerStatus.BUSY)
        horse = self.send(job)
        queue.intermediate_queue.remove(job.id)
        while not horse.wait(LOOK_SECONDS):
            self.look_in(horse)
        self.show(None)
        if horse.status is not None:
            self.replace(horse)
        self.run_relay()
        self.set_state(WorkerStatus.IDLE)

    def send(self, job: Job) -> WorkHorse:
        """Send a job to the work-horse, or to a new one if it died at rest."""
        horse = self.horse or self.new_horse()
        limit = float(job.timeout or 0) + STUCK_SECONDS
        while not horse.send(job.id, limit):
            horse = self.new_horse()
        self.horse = horse
        if self._stop_requested:
            self.stop_horse()  # requested before the work-horse had this job
        return horse

    def new_horse(self) -> WorkHorse:
        """Fork a work-horse. Close the database connections first, because a fork would share them."""
        close_connections()
        horse = WorkHorse(self.be_horse)
        self._horse_pid = horse.pid
        return horse

    def be_horse(self, pipe: Connection, board: SharedStatus) -> None:
        """Serve jobs in the child process."""
        self._is_horse = True
        self.procline(f"Serving {', '.join(self.queue_names())}")  # type: ignore[no-untyped-call]
        intake = Fetcher(self.queues, self.connection, linger=self.linger)
        WorkLoop(pipe, board, intake=intake, worker=self.name, max_runs=self.max_runs).serve()

    def replace(self, horse: WorkHorse) -> None:
        """Recover what a dead work-horse left behind, and fork another one."""
        left = horse.board.read()
        self.horse, self._horse_pid = None, 0
        if left or horse.status:
            message = f"its work-horse ended before the run did (wait status {horse.status})"
            if left:
                self.fail(left.name, message)
            self.report_loss(left and left.name, horse.board.taken, message)
        if not self._stop_requested:
            self.horse = self.new_horse()

    # While a work-horse is busy

    def look_in(self, horse: WorkHorse) -> None:
        """Check a busy work-horse: send heartbeats, show a long job in RQ's dashboards, and kill a stuck one."""
        entry = horse.board.read()
        if entry and entry.is_overdue:
            logger.error("work-horse killed: job %s did not end when its time was up", entry.name)
            self.kill_horse()
        try:
            self.show(entry if entry == self.seen else None)
            self.beat()
        except RedisError as error:
            # The run does not need Redis, so the worker keeps watching the work-horse
            logger.warning("no heartbeat worker=%s: %s: %s", self.name, type(error).__name__, error)
        self.seen = entry
        self.run_relay()

    def beat(self) -> None:
        """Send RQ's heartbeat if it is due."""
        if monotonic() - self.last_beat < self.job_monitoring_interval:
            return
        self.last_beat = monotonic()
        if self.shown:
            self.maintain_heartbeats(*self.shown)
        else:
            self.heartbeat(self.job_monitoring_interval + 60)

    def show(self, entry: RunningJob | None) -> None:
        """Enter this job in RQ's registries as the worker's current one, and remove the previous one."""
        name = entry.name if entry else None
        if self.shown and self.shown[0].id != name:
            job, execution = self.shown
            self.shown = None
            with self.connection.pipeline() as pipeline:
                self.cleanup_execution(job, pipeline=pipeline, execution=execution)
                pipeline.delete(job.key)  # the work-horse has deleted it, but this worker's later writes would stay
                pipeline.execute()
        if name and not self.shown:
            with suppress(NoSuchJobError):
                job = self.fetch(name)
                self.shown = job, self.prepare_execution(job)
                self.prepare_job_execution(job)

    def fetch(self, name: str) -> Job:
        """Return the job with the id *name*. Raise NoSuchJobError if Redis does not have it."""
        return self.job_class.fetch(name, connection=self.connection, serializer=self.serializer)

    # What a dead work-horse leaves behind

    def report_loss(self, begun: str | None, taken: Sequence[str], message: str) -> None:
        """
        Release at once the runs of a dead work-horse, instead of waiting until their leases expire.

        *begun* is the id of the job that it was running, *taken* are the ids of all jobs that it took from the queue.
        """
        lost = {parse_job_id(begun)[0]} if begun else set()
        try:
            for alias in registry.databases():
                runs = FeatureRun.objects.using(alias)
                if lost and self._is_loss_recorded(runs.held_by(self.name).filter(pk__in=lost), message):
                    self.last_tick = -conf.RELAY_SECONDS
                for run in runs.held_by(self.name).exclude(pk__in=lost):
                    with suppress(ClaimLost):
                        run.release(f"claimed in a batch and not begun; {message}")
                # It may have died before its claim. The relay's next tick enqueues the run; doing it here could loop
                for run_id, number in map(parse_job_id, taken):
                    for run in runs.queued().filter(pk=run_id, dispatch_no=number):
                        run.undispatch()
        except Exception:  # noqa: BLE001 - a database that is down must not end the worker
            logger.exception("loss not recorded worker=%s; the relay will see the leases end", self.name)
        finally:
            close_connections()

    def fail(self, name: str, message: str) -> None:
        """Move the job to RQ's failed registry, where dashboards show it."""
        try:
            job = self.fetch(name)
            self.handle_job_failure(job, Queue(job.origin, connection=self.connection), exc_string=message)
        except (NoSuchJobError, RedisError) as error:
            logger.warning("job %s not shown as failed: %s: %s", name, type(error).__name__, error)

    def _is_loss_recorded(self, held: FeatureRunQuerySet, message: str) -> bool:
        # Try again: the last COMMIT of the dead work-horse may still be running
        for _ in range(3):
            run = held.first()
            if run is None or record_loss(run, message, expired=False):
                return run is not None
        return False

    # Shutdown

    def _shutdown(self) -> None:
        """Stop at once when idle, or after the current job when busy."""
        if self.is_in_relay and self.get_state() != WorkerStatus.BUSY:
            # RQ would raise StopRequested, an Exception, which the relay would treat as its own failure
            self._stop_requested = True
        else:
            super()._shutdown()  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        """Handle the first stop signal: also tell the work-horse to stop after the current task."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self.stop_horse()

    def stop_horse(self) -> None:
        """Ask the work-horse to hand over its run. Do not signal programs that its task has started."""
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)

    def teardown(self) -> None:
        """Stop the work-horse, then RQ's own teardown."""
        if self.horse and not self._is_horse:
            self.horse.dismiss()
        super().teardown()  # type: ignore[no-untyped-call]


def _check_name(name: str | None) -> None:
    """Raise CommandError for a name that the run row cannot hold; rqworker prints it without a traceback."""
    if name and (len(name) > WORKER_LENGTH or not name.isprintable()):
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        raise CommandError(
            f"The worker's name {shown!r} has {len(name)} characters; choose a --name of at most {WORKER_LENGTH}, "
            "without line breaks and other characters that cannot be printed."
        )
