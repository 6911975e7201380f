"""
The relay: enqueue runs that are due or lost, and recover runs whose worker died.

Any number of relays may run at once: each transition is guarded, and a run that is enqueued twice is claimed once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic

from django.db import Error

from ..broker import dispatch
from ..conf import conf
from ..db.missing_tables import noting_missing_tables
from ..db.timestamps import Now
from ..discovery.registry import JOB_MARGIN, registry
from ..models import NOW, FeatureRun, FeatureRunQuerySet, RunState
from ..signals import logger
from .recovery import record_loss

#: Runs in one query and in one request to Redis.
PAGE = 200

#: Columns that are not needed to enqueue a run; the contexts of one page may take 50 MB.
LARGE = ("context", "steps")

#: Seconds that one tick may take; the next tick does the rest.
BUDGET = 5.0

#: Seconds that a worker may spend on the relay at the end of a run.
SHARE = 0.5

#: Seconds between two checks of all queued runs in Redis, even if nothing seems wrong: RQ can lose a job between taking
#: it and starting it.
SLOW_CHECK = 60.0

#: Longest time in seconds between a run's COMMIT and its job in Redis: a request waits no longer for Redis.
GRACE = 1.0

#: Seconds that a run is queued before the relay warns that its queue has no worker, and between two such warnings.
UNSERVED_SECONDS = 60.0

#: The most runs of a queue that one warning counts.
COUNTED = 1_000


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

    memories: dict[tuple[str, str], "Memory"] = field(default_factory=dict)  # by (database, queue)
    flushed: dict[str, bool | None] = field(default_factory=dict)  # by queue: the result of mark() in this tick
    watched: dict[str, float] = field(default_factory=dict)  # by queue: when its workers were last counted

    def tick(self, *, budget: float = BUDGET, thorough: bool = False) -> Report:
        """
        Do one round of at most *budget* seconds. With *thorough*, check every queued run in Redis.

        After an error of Redis, the next tick handles its runs. Raise the errors of a database.
        """
        report = Report()
        deadline = monotonic() + budget
        self.flushed.clear()
        for alias in registry.databases():
            runs = FeatureRun.objects.using(alias)
            with noting_missing_tables(alias):
                self._recover(runs, report, deadline)
                self._find_lost_jobs(alias, runs, report, deadline, thorough=thorough)
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
        for page in _pages(runs.expired(), deadline, by="lease_expires_at"):
            for run in page:
                message = f"the lease of worker {run.worker or '?'} ran out"
                report.recovered += record_loss(run, message, expired=True)

    def _find_lost_jobs(
        self, alias: str, runs: FeatureRunQuerySet, report: Report, deadline: float, *, thorough: bool
    ) -> None:
        """Set runs to pending that are queued in the database and have no job in Redis."""
        for queue in conf.queues:
            if self._is_flushed(queue) is None:
                continue  # Redis is down; a later tick checks this queue
            memory = self.memories.setdefault((alias, queue), Memory())
            memory.strays = dispatch.requeue_stuck(queue, memory.strays)
            everything = thorough or bool(self._is_flushed(queue)) or memory.is_slow_check_due()
            window = runs.queued(queue, since=None if everything else memory.window())
            for run in _lost(window, queue, deadline, in_list=everything):
                report.undispatched += run.undispatch()
            if monotonic() < deadline and not dispatch.is_paused(queue):
                memory.remember(everything=everything)
            elif self._is_flushed(queue):
                dispatch.unmark(queue)  # else the rest would wait for the slow check

    def _is_flushed(self, queue: str) -> bool | None:
        """Return whether Redis has lost its data since the last tick. Ask once a tick, for all databases."""
        if queue not in self.flushed:
            self.flushed[queue] = dispatch.mark(queue)
        return self.flushed[queue]

    def _dispatch(self, runs: FeatureRunQuerySet, report: Report, deadline: float) -> None:
        for state in (RunState.PENDING, RunState.WAITING):
            for page in _pages(runs.due(state).defer(*LARGE), deadline):
                for run in page:
                    if not dispatch.is_paused(run.queue):
                        report.dispatched += dispatch_due(run)

    def _warn_of_unserved(self) -> None:
        """Warn of queues with long-queued runs and no worker: once a minute, from one relay only."""
        for queue in conf.queues:
            # After a flush, live workers have to register again first
            if self._is_flushed(queue) is not False or not self._is_watch_due(queue):
                continue
            if dispatch.take_turn(queue, UNSERVED_SECONDS, at=dispatch.WARNED) and dispatch.worker_count(queue) == 0:
                _warn_if_unserved(queue)

    def _is_watch_due(self, queue: str) -> bool:
        now = monotonic()
        if now - self.watched.get(queue, -UNSERVED_SECONDS) < UNSERVED_SECONDS:
            return False
        self.watched[queue] = now
        return True


class Memory:
    """When the queued runs of one queue were last checked in Redis, in monotonic seconds."""

    def __init__(self) -> None:
        self.last = -SLOW_CHECK
        self.last_slow = -SLOW_CHECK
        self.strays: set[str] = set()  # jobs in RQ's intermediate queue

    def is_slow_check_due(self) -> bool:
        """Return whether it is time to check all queued runs, not only the new ones."""
        return monotonic() - self.last_slow >= SLOW_CHECK

    def window(self) -> float:
        """Return how many seconds back to look for new queued runs. Some runs are checked a second time."""
        return monotonic() - self.last + 2 * GRACE

    def remember(self, *, everything: bool) -> None:
        """Note the time of a check that was made."""
        self.last = monotonic()
        if everything:
            self.last_slow = self.last


def after(run: FeatureRun) -> None:
    """Enqueue a run again if its worker handed it over, then do a short relay tick if it is time."""
    if run.state == RunState.PENDING:
        dispatch_due(run)
    if dispatch.take_turn(run.queue, conf.RELAY_SECONDS):
        try:
            Relay().tick(budget=SHARE)
        except Error as error:
            logger.warning("relay failed error=%r; the next run tries again", error)


def dispatch_due(run: FeatureRun) -> bool:
    """Enqueue a run that is due. Return whether its job is in Redis now."""
    if not run.begin_dispatch():
        return False
    feature = registry.find(run.feature)
    rung = dispatch.ring(
        run_id=run.pk,
        dispatch_no=run.dispatch_no,
        queue=run.queue,
        timeout=feature.job_timeout if feature else JOB_MARGIN,
        feature=run.feature,
    )
    if not rung:
        run.undispatch()
    return rung


def _warn_if_unserved(queue: str) -> None:
    databases = [FeatureRun.objects.using(alias) for alias in registry.databases()]
    # A running run proves that there is a worker: RQ's own worker does not register again after a flush
    if any(runs.filter(state=RunState.RUNNING, queue=queue).exists() for runs in databases):
        return
    waits = [wait for runs in databases for wait in _long_waits(runs, queue)]
    if waits:
        logger.warning(
            "queue not served queue=%s runs=%s%s waited=%.0fs: no worker is registered for it; start %s",
            queue,
            len(waits),
            "+" if len(waits) >= COUNTED else "",
            max(waits),
            dispatch.worker_command(queue),
        )


def _long_waits(runs: FeatureRunQuerySet, queue: str) -> Iterator[float]:
    """Yield the seconds for which each long-queued run of *queue* has been due, by the database's clock."""
    long_queued = runs.queued(queue).filter(queued_at__lt=Now(-UNSERVED_SECONDS)).order_by("available_at")
    for due, now in long_queued.values_list("available_at", NOW)[:COUNTED]:
        yield (now - due).total_seconds()


def _lost(runs: FeatureRunQuerySet, queue: str, deadline: float, *, in_list: bool) -> Iterator[FeatureRun]:
    """Yield the queued *runs* that have no job in Redis. Stop when Redis cannot be reached."""
    listed = dispatch.listed(queue) if in_list else None
    if in_list and listed is None:
        return
    for page in _pages(runs.defer(*LARGE), deadline):
        known = dispatch.known(queue, [(run.pk, run.dispatch_no) for run in page], listed=listed)
        if known is None:
            return
        yield from (run for run in page if run.pk not in known)


def _pages(runs: FeatureRunQuerySet, deadline: float, *, by: str = "available_at") -> Iterator[list[FeatureRun]]:
    """
    Yield the *runs* of one state in the order of the column *by*, one page for each query, until the *deadline*.

    State and column share an index, so the database does not read other runs. Each page begins after the last key and
    not at an offset, so that rows which cannot move do not hide the rows after them.
    """
    rest = runs
    while monotonic() < deadline:
        page = list(rest.order_by(by, "pk")[:PAGE])
        if page:
            rest = runs.after(by, getattr(page[-1], by), page[-1].pk)  # before the yield: the caller changes the rows
            yield page
        if len(page) < PAGE:
            return
