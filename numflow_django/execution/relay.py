"""
The relay: enqueue runs that are due or lost, and recover runs whose worker died.

Any number of relays may run at once: each transition is guarded, and a run that is enqueued twice is claimed once.
"""

from dataclasses import dataclass, field
from time import monotonic

from django.db import Error

from ..broker import marks
from ..broker.dispatch import enqueue
from ..broker.pauses import is_paused
from ..conf import conf
from ..db.missing_tables import noting_missing_tables
from ..discovery.registry import JOB_MARGIN, registry
from ..models import FeatureRun, FeatureRunQuerySet, RunState
from ..signals import logger
from .missing_jobs import MissingJobs
from .pages import LARGE, pages
from .recovery import record_loss
from .unserved import UnservedQueues

#: Seconds that one tick may take; the next tick does the rest.
TICK_SECONDS = 5.0

#: Seconds that a worker may spend on the relay at the end of a run.
WORKER_TICK_SECONDS = 0.5


@dataclass
class Report:
    """Count what one tick has done."""

    recovered: int = 0  # runs whose holder had died
    undispatched: int = 0  # runs that Redis had lost
    dispatched: int = 0

    def __bool__(self) -> bool:
        return bool(self.recovered or self.undispatched or self.dispatched)


@dataclass
class Relay:
    """The relay of one process, and what it remembers between two ticks."""

    missing_jobs: MissingJobs = field(default_factory=MissingJobs)
    unserved: UnservedQueues = field(default_factory=UnservedQueues)

    def tick(self, *, seconds: float = TICK_SECONDS, thorough: bool = False) -> Report:
        """
        Do one round of at most *seconds*. With *thorough*, check every queued run in Redis.

        After an error of Redis, the next tick handles its runs. Raise the errors of a database.
        """
        report = Report()
        deadline = monotonic() + seconds
        self.missing_jobs.begin_tick()
        for alias in registry.databases():
            runs = FeatureRun.objects.using(alias)
            with noting_missing_tables(alias):
                self._recover(runs, report, deadline)
                self._undispatch_lost(alias, runs, report, deadline, thorough=thorough)
                self._dispatch(runs, report, deadline)
        self._warn_of_unserved()
        if report:
            logger.info(
                "relay recovered=%s undispatched=%s dispatched=%s",
                report.recovered,
                report.undispatched,
                report.dispatched,
            )
        return report

    def _recover(self, runs: FeatureRunQuerySet, report: Report, deadline: float) -> None:
        for page in pages(runs.expired(), deadline, by="lease_expires_at"):
            for run in page:
                message = f"the lease of worker {run.worker or '?'} ran out"
                report.recovered += record_loss(run, message, only_if_expired=True)

    def _undispatch_lost(
        self, alias: str, runs: FeatureRunQuerySet, report: Report, deadline: float, *, thorough: bool
    ) -> None:
        """Set runs to pending that are queued in the database and have no job in Redis."""
        for queue in conf.queues:
            for run in self.missing_jobs.find(alias, queue, runs, deadline, thorough=thorough):
                report.undispatched += run.undispatch()

    def _dispatch(self, runs: FeatureRunQuerySet, report: Report, deadline: float) -> None:
        for state in (RunState.PENDING, RunState.WAITING):
            for page in pages(runs.due(state).defer(*LARGE), deadline):
                for run in page:
                    if not is_paused(run.queue):
                        report.dispatched += dispatch_due(run)

    def _warn_of_unserved(self) -> None:
        for queue in conf.queues:
            # After a flush, live workers have to register again first
            if self.missing_jobs.is_flushed(queue) is False:
                self.unserved.warn(queue)


def after_run(run: FeatureRun) -> None:
    """Enqueue a run again if its worker released it, then do a short relay tick if it is time."""
    dispatch_released(run)
    if marks.take_turn(run.queue, conf.RELAY_SECONDS):
        try:
            Relay().tick(seconds=WORKER_TICK_SECONDS)
        except Error as error:
            logger.warning("relay failed error=%r; the next run tries again", error)


def dispatch_released(run: FeatureRun) -> None:
    """Enqueue a run that its worker released unfinished, for example because the worker stops. Ignore other runs."""
    if run.state == RunState.PENDING:
        dispatch_due(run)


def dispatch_due(run: FeatureRun) -> bool:
    """Enqueue a run that is due. Return whether its job is in Redis now."""
    if not run.begin_dispatch():
        return False
    feature = registry.find(run.feature)
    return enqueue(run, timeout=feature.job_timeout if feature else JOB_MARGIN)
