"""Runs async tasks as a worker would, in the test's own process and transaction."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any
from uuid import UUID

from django.utils.timezone import is_naive, make_aware, now

from ..discovery.policy import seconds_of
from ..discovery.registry import registry
from ..exceptions import TaskError
from ..execution import runner
from ..execution.recovery import record_loss
from ..models import NOW, OPEN, FeatureRun, FeatureRunQuerySet, RunState
from ..signals import UNKNOWN, task_failed
from .broker import without_redis
from .committed import committed
from .faults import WorkerDied

#: The name of this worker in the task log.
WORKER = "run_pending"


def run_pending(
    *,
    waiting: bool = False,
    until: float | timedelta | datetime | None = None,
    raise_errors: bool = False,
    limit: int = 1_000,
) -> list[FeatureRun]:
    """
    Run the async tasks of all due runs in this process until no run is due, and return these runs.

    In a TestCase, everything that the test did so far counts as committed: its on_commit callbacks are called first.
    Neither Redis nor a worker is needed, and nothing sleeps.

    With *waiting*, every wait is skipped: for a retry and for a later start. With *until* (seconds, a timedelta, or an
    aware datetime), only the waits that end within that time are skipped, counted from this call: the waits of one run
    add up, and a run that a task starts begins at the time of that task. A failing task fails its run, not the test;
    with *raise_errors*, its error is raised when all runs are done.

    Raise RuntimeError after *limit* runs, because a task may start its own run without end, and in an ``atomic`` block
    of the test's own; ValueError for a wrong *until*, and for *until* together with *waiting*.
    """
    if waiting and until is not None:
        raise ValueError("run_pending(waiting=True, until=...): pass only one of them; waiting=True skips every wait")
    horizon = inf if waiting else 0.0 if until is None else _seconds_until(until)
    worker = Worker(horizon=horizon, limit=limit)
    task_failed.connect(worker.note_error)
    try:
        with without_redis(), committed():
            worker.work()
    finally:
        task_failed.disconnect(worker.note_error)
    for run in worker.runs.values():
        run.reread()
    if raise_errors:
        worker.raise_error()
    return list(worker.runs.values())


class Worker:
    """The worker of one call: it runs one run after another."""

    def __init__(self, *, horizon: float, limit: int) -> None:
        self.horizon = horizon  # the longest wait that is skipped, in seconds from the call
        self.limit = limit
        self.count = 0
        self.runs: dict[UUID, FeatureRun] = {}  # in the order in which they started
        self.errors: dict[UUID, tuple[str, BaseException]] = {}  # of each run, the first task that failed for good
        self.stuck: set[UUID] = set()  # runs whose feature or task is not in this code
        self.skipped: dict[UUID, float] = {}  # seconds skipped for a run, with those of the run that started it

    def work(self) -> None:
        """Run the due runs. If none is due, skip the shortest wait, until no run is left within the horizon."""
        self.databases = databases()
        while run := self._due() or self._skip_shortest_wait():
            self.count += 1
            if self.count > self.limit:
                raise RuntimeError(
                    f"run_pending() stopped: after {self.limit} runs, more are due, such as {run.feature}; a "
                    "task that starts its own run again never ends (or set a higher limit: run_pending(limit=...))"
                )
            self._run(run)

    def _due(self) -> FeatureRun | None:
        """Return the run that has been due for the longest time, from all databases."""
        due = [run for runs in self.databases for run in runs.queued() | runs.due() if run.pk not in self.stuck]
        return min(due, key=lambda run: (run.available_at, run.pk), default=None)

    def _skip_shortest_wait(self) -> FeatureRun | None:
        """Skip the wait that would end next and return its run, or None if no wait ends within the horizon."""
        if not self.horizon:
            return None
        ends = [
            (self.skipped.get(run.pk, 0.0) + _wait_of(run), run)
            for runs in self.databases
            for run in runs.filter(state=RunState.WAITING).annotate(clock=NOW)
            if run.pk not in self.stuck
        ]
        end, run = min(ends, key=lambda each: (each[0], each[1].pk), default=(inf, None))
        if run is None or end > self.horizon:
            return None
        self.skipped[run.pk] = end
        if run.skip_wait():
            run.reread()
        return run

    def _run(self, run: FeatureRun) -> None:
        known = self._open_runs() if self.horizon else set()
        self._run_once(run)
        if self.horizon:
            # Runs that its tasks have started begin at its own time
            self.skipped |= dict.fromkeys(self._open_runs() - known, self.skipped.get(run.pk, 0.0))

    def _open_runs(self) -> set[UUID]:
        return {pk for runs in self.databases for pk in runs.filter(state__in=OPEN).values_list("pk", flat=True)}

    def _run_once(self, run: FeatureRun) -> None:
        if run.state != RunState.QUEUED:
            run.begin_dispatch()
        runs = FeatureRun.objects.using(run._state.db)
        claimed = runs.claim(run.pk, run.dispatch_no, worker=WORKER)
        if claimed is None:
            return  # another worker was first, in a test without a transaction
        self.runs.setdefault(run.pk, claimed)
        try:
            runner.run_claimed(claimed, lease=nullcontext)
        except WorkerDied as death:
            record_loss(claimed, f"its worker died {death}", only_if_expired=False)
        if claimed.reason.startswith(UNKNOWN):
            self.stuck.add(run.pk)

    def note_error(self, run: FeatureRun, execution: Any, error: BaseException | None, **kwargs: Any) -> None:
        """Record the error of a failed task."""
        if error is not None:
            self.errors.setdefault(
                run.pk, (f"async task {execution.name} of {run.feature}, attempt {execution.attempt}", error)
            )

    def raise_error(self) -> None:
        """Raise the error of the first failed run."""
        for run in self.runs.values():
            if run.state == RunState.FAILED:
                note, error = self.errors.get(run.pk, ("", None))
                if not isinstance(error, Exception):  # SystemExit would end the test run
                    raise TaskError(f"run {run.pk} of {run.feature} failed: {run.reason}") from error
                error.add_note(note)
                raise error


def _wait_of(run: Any) -> float:
    """Return how many seconds *run* still waits, by its database's ``clock``."""
    wait: timedelta = run.available_at - run.clock
    return max(wait, timedelta(0)).total_seconds()


def _seconds_until(until: float | timedelta | datetime) -> float:
    if not isinstance(until, datetime):
        return seconds_of(until, "run_pending(until")
    if is_naive(until):
        if not is_naive(now()):  # USE_TZ is on
            raise ValueError(f"run_pending(until={until!r}): pass an aware datetime, with its time zone")
        until = make_aware(until)
    wait = until - datetime.now(UTC)
    if wait < timedelta(0):
        raise ValueError(f"run_pending(until={until!r}): this time has passed; pass one in the future")
    return seconds_of(wait, "run_pending(until")


def databases() -> list[FeatureRunQuerySet]:
    """Return the runs of each database that the test may use. Raise Django's AssertionError if it may use none."""
    found, refusals = [], []
    for alias in registry.databases():
        runs = FeatureRun.objects.using(alias)
        try:
            runs.exists()
        except AssertionError as refusal:
            refusals.append(refusal)
        else:
            found.append(runs)
    if not found:
        raise refusals[0]
    return found
