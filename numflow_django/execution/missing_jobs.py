"""Queued runs whose job is not in Redis: Redis or RQ has lost it, or the process died before it enqueued the run."""

from collections.abc import Iterator, Set
from time import monotonic

from ..broker import lookup, marks
from ..broker.pauses import is_paused
from ..models import FeatureRun, FeatureRunQuerySet
from .pages import LARGE, pages

#: Seconds between two checks of all queued runs in Redis, even if nothing seems wrong: RQ can lose a job between taking
#: it and starting it.
SLOW_CHECK_SECONDS = 60.0

#: Longest time in seconds between a run's COMMIT and its job in Redis: a request waits no longer for Redis.
ENQUEUE_SECONDS = 1.0


class MissingJobs:
    """Find the runs whose job is lost, and remember when each queue was last checked."""

    def __init__(self) -> None:
        self.checks: dict[tuple[str, str], LastCheck] = {}  # by (database, queue)
        self._flushed: dict[str, bool | None] = {}  # by queue: the result of set_mark() in this tick

    def begin_tick(self) -> None:
        """Ask each Redis again whether it has lost its data."""
        self._flushed.clear()

    def is_flushed(self, queue: str) -> bool | None:
        """
        Return whether Redis has lost its data since the last tick, and None if it is down.

        Ask once a tick, for all databases.
        """
        if queue not in self._flushed:
            self._flushed[queue] = marks.set_mark(queue)
        return self._flushed[queue]

    def find(
        self, alias: str, queue: str, runs: FeatureRunQuerySet, deadline: float, *, thorough: bool
    ) -> Iterator[FeatureRun]:
        """Yield the queued *runs* of the database *alias* that have no job in *queue*; the caller dispatches them."""
        if self.is_flushed(queue) is None:
            return  # Redis is down; a later tick checks this queue
        check = self.checks.setdefault((alias, queue), LastCheck())
        check.in_transit = lookup.requeue_stuck(queue, check.in_transit)
        everything = thorough or bool(self.is_flushed(queue)) or check.is_slow_check_due()
        runs_to_check = runs.queued(queue, since=None if everything else check.seconds_to_look_back())
        yield from _without_job(runs_to_check, queue, deadline, in_list=everything)
        if monotonic() < deadline and not is_paused(queue):
            check.record(everything=everything)
        elif self.is_flushed(queue):
            marks.delete_mark(queue)  # else the rest would wait for the slow check


class LastCheck:
    """When the queued runs of one queue were last checked in Redis, in monotonic seconds."""

    def __init__(self) -> None:
        self.last = -SLOW_CHECK_SECONDS
        self.last_slow = -SLOW_CHECK_SECONDS
        self.in_transit: Set[str] = lookup.NO_JOBS  # the jobs that were in RQ's intermediate queue

    def is_slow_check_due(self) -> bool:
        """Return whether it is time to check all queued runs, not only the new ones."""
        return monotonic() - self.last_slow >= SLOW_CHECK_SECONDS

    def seconds_to_look_back(self) -> float:
        """Return how many seconds back to look for new queued runs. Some runs are checked a second time."""
        return monotonic() - self.last + 2 * ENQUEUE_SECONDS

    def record(self, *, everything: bool) -> None:
        """Remember that a check was made now."""
        self.last = monotonic()
        if everything:
            self.last_slow = self.last


def _without_job(runs: FeatureRunQuerySet, queue: str, deadline: float, *, in_list: bool) -> Iterator[FeatureRun]:
    """Yield the queued *runs* that have no job in Redis. Stop when Redis cannot be reached."""
    listed = lookup.listed_jobs(queue) if in_list else None
    if in_list and listed is None:
        return
    for page in pages(runs.defer(*LARGE), deadline):
        found = lookup.runs_with_job(queue, [(run.pk, run.dispatch_no) for run in page], listed=listed)
        if found is None:
            return
        yield from (run for run in page if run.pk not in found)
