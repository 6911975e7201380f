"""What a worker would do, in the test's own process and transaction."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from .. import runner
from ..exceptions import TaskError
from ..losses import record_loss
from ..models import FeatureRun, FeatureRunQuerySet, RunState
from ..registry import registry
from ..signals import task_failed
from .broker import without_redis
from .committed import committed
from .faults import WorkerDied

if TYPE_CHECKING:
    from uuid import UUID

#: The name under which the task log knows this worker.
WORKER = "run_pending"


def run_pending(*, waiting: bool = False, raise_errors: bool = False, limit: int = 1_000) -> list[FeatureRun]:
    """
    Run the async tasks of all runs that are due, here and now, until none is; give those runs as they ended.

    In a TestCase, what the test did so far counts as committed: its on_commit callbacks are called first. Neither
    Redis nor a worker is needed, and nothing sleeps.

    With *waiting*, no run waits: neither for a retry nor for its hour. A task that fails is a failed run and no error;
    with *raise_errors*, its error is raised once all is done. Raise RuntimeError after *limit* passages of runs, for
    tasks that start their own run anew for ever, and in an ``atomic`` block of the test's own.
    """
    worker = Worker(waiting=waiting, limit=limit)
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
    """One call's worker: takes the runs one after another."""

    def __init__(self, *, waiting: bool, limit: int) -> None:
        self.waiting = waiting
        self.limit = limit
        self.passages = 0
        self.runs: dict[UUID, FeatureRun] = {}  # in the order in which they were begun
        self.errors: dict[UUID, tuple[str, BaseException]] = {}  # of each run, the first task that failed for good
        self.stuck: set[UUID] = set()  # runs that wait for what no hurry brings: code that knows them

    def work(self) -> None:
        """Run what is due; then, if nothing is to wait, what waits, one by one; until there is nothing."""
        self.databases = databases()
        while run := self._next(lambda runs: runs.queued() | runs.due()) or (self.waiting and self._hurried()):
            self.passages += 1
            if self.passages > self.limit:
                raise RuntimeError(
                    f"run_pending() stopped: {self.limit} runs were run and more are due, such as {run.feature}; a "
                    "task that starts its own run anew never ends (or raise the limit: run_pending(limit=...))"
                )
            self._run(run)

    def _next(self, select: Callable[[FeatureRunQuerySet], FeatureRunQuerySet]) -> FeatureRun | None:
        """The run of all databases that has been due for the longest."""
        due = [run for runs in self.databases for run in select(runs) if run.pk not in self.stuck]
        return min(due, key=lambda run: (run.available_at, run.pk), default=None)

    def _hurried(self) -> FeatureRun | None:
        run = self._next(lambda runs: runs.filter(state=RunState.WAITING))
        if run is not None and run.hurry():
            run.reread()
        return run

    def _run(self, run: FeatureRun) -> None:
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
            record_loss(claimed, f"its worker died {death}", expired=False)
        if claimed.reason.startswith("unknown "):
            self.stuck.add(run.pk)

    def note_error(self, run: FeatureRun, execution: Any, error: BaseException | None, **kwargs: Any) -> None:
        """Keep what a task failed with."""
        if error is not None:
            self.errors.setdefault(
                run.pk, (f"async task {execution.name} of {run.feature}, attempt {execution.attempt}", error)
            )

    def raise_error(self) -> None:
        """Raise what the first of the failed runs failed with."""
        for run in self.runs.values():
            if run.state == RunState.FAILED:
                note, error = self.errors.get(run.pk, ("", None))
                if not isinstance(error, Exception):  # SystemExit would end the test run
                    raise TaskError(f"run {run.pk} of {run.feature} failed: {run.reason}") from error
                error.add_note(note)
                raise error


def databases() -> list[FeatureRunQuerySet]:
    """The runs of each database that the test may use. Raise Django's AssertionError if that is none."""
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
