"""Execute the tasks of a claimed run in order, write a checkpoint after each, and end the run."""

from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

from django.db import transaction
from django.utils import timezone

from .. import signals
from ..context import Author, Context, TaskInfo, freeze, thaw
from ..discovery.modules import Module
from ..discovery.policy import Retry, TaskPolicy
from ..discovery.registry import registry
from ..exceptions import ClaimLost
from ..models import WAIT_SKIPPED, FeatureRun, RunState
from .checkpoint import Checkpoint, write_checkpoint
from .history import History
from .missing_code import transition_without_code
from .outcome import Outcome, RetryAsked
from .recovery import record_loss
from .run_database import RunDatabase
from .stop import Stop
from .task import TASK_ERRORS, call, error_fields, storable


class RunExecutor:
    """Execute the tasks of a run under one claim."""

    def __init__(self, run: FeatureRun) -> None:
        self.run = run
        self.history = History(run)
        self.database = RunDatabase(run)

    def execute(self) -> None:
        """Execute the tasks that remain. Raise ClaimLost if another worker has taken the run over."""
        feature = registry.find(self.run.feature)
        while self.run.state == RunState.RUNNING:
            name = self.run.task_names[self.run.position]
            task = feature.task(name) if feature else None
            if Stop.requested:
                self._write(lambda: self.run.release("released: its worker was stopped"))
            elif feature is None or task is None:
                what = f"feature {self.run.feature}" if feature is None else f"task {name}"
                self._write(transition_without_code(self.run, what))
            else:
                self._ensure_claim()
                self._start(task, feature.policy(task))
        self._announce_end()

    def _ensure_claim(self) -> None:
        """Renew a lease that is over, perhaps after this process was suspended. Raise ClaimLost if it is too late."""
        if self.run.has_used_lease() and not self.database.retrying(self.run.renew_lease):
            raise ClaimLost(f"run {self.run.pk}: its lease expired, and another process has taken it over")

    def _announce_end(self) -> None:
        ended = {
            RunState.SUCCEEDED: signals.run_succeeded,
            RunState.FAILED: signals.run_failed,
            RunState.CANCELLED: signals.run_cancelled,
        }.get(RunState(self.run.state), signals.run_released)
        ended.send_robust(sender=FeatureRun, run=self.run)

    def _write(self, transition: Callable[[], dict[str, Any]]) -> None:
        self.run.remember(self.database.retrying(transition))

    # One task

    def _start(self, task: Module, policy: TaskPolicy) -> None:
        """Execute the task, or postpone the run until the task's start time."""
        wait = 0.0
        if policy.start_after and not self.history.has_begun(task.name) and self.run.reason != WAIT_SKIPPED:
            wait = (self.history.due_at + timedelta(seconds=policy.start_after) - timezone.now()).total_seconds()
        if wait > 0:
            self._write(lambda: self.run.postpone([], seconds=wait, reason=f"{task.name} starts later"))
        else:
            self._execute(task, policy)

    def _execute(self, task: Module, policy: TaskPolicy) -> None:
        """Call the task and write its checkpoint."""
        number, not_counted = self.history.begin(task.name), self.history.not_counted(task.name)
        outcome = Outcome(task=task, policy=policy, number=number, not_counted=not_counted, started_at=timezone.now())
        ctx = self._context(outcome)
        signals.task_started.send_robust(sender=FeatureRun, run=self.run, task=ctx.task)
        checkpoint = None
        began_on = self.database.connection.connection if policy.atomic else None
        try:
            if policy.atomic:
                checkpoint = self._work_atomically(outcome, ctx)
            else:
                self._work(outcome, ctx)
        except ClaimLost:
            raise
        except RetryAsked:
            outcome.context = None
        except TASK_ERRORS as error:
            if self.database.is_connection_lost(error, began_on=began_on):
                self._lose(error)
                return
            outcome.error = error
            # Keep what the task stored before it failed, unless its transaction was rolled back
            outcome.context = None if policy.atomic else self._salvaged(ctx)
        # Outside the try: a database error here is not the task's failure
        self._settle(outcome, checkpoint or self.database.retrying(lambda: self._checkpoint(outcome)))

    def _context(self, outcome: Outcome) -> Context:
        info = TaskInfo(run_id=self.run.pk, name=outcome.task.name, attempt=outcome.number)
        ctx = thaw(self.run.context, run_id=self.run.pk, task=info)
        ctx._numflow.author = Author("async task", outcome.task, self.run.feature)
        return ctx

    def _work(self, outcome: Outcome, ctx: Context) -> None:
        returned = call(outcome.task, ctx, outcome.policy.seconds)
        if isinstance(returned, Retry):
            outcome.retry = returned
        else:
            outcome.result = storable(returned, run=self.run, task=outcome.task)
        outcome.context = self._changed(ctx)

    def _work_atomically(self, outcome: Outcome, ctx: Context) -> Checkpoint:
        """Run the task and write its checkpoint in one transaction."""
        database = self.database.alias
        committed = Event()
        try:
            with transaction.atomic(using=database):
                # Registered first: if a callback of the task raises, Django drops the callbacks after it
                transaction.on_commit(committed.set, using=database, robust=True)
                self._work(outcome, ctx)
                if outcome.retry is not None:
                    raise RetryAsked
                checkpoint = self._checkpoint(outcome)
        except TASK_ERRORS as error:
            if not committed.is_set():
                raise
            signals.logger.error(
                "on_commit callback failed run=%s feature=%s task=%s; what the task wrote stands",
                self.run.pk,
                self.run.feature,
                outcome.task.name,
                exc_info=error,
            )
        return checkpoint

    def _checkpoint(self, outcome: Outcome) -> Checkpoint:
        return write_checkpoint(self.run, outcome, failed=self.history.failed)

    def _settle(self, outcome: Outcome, checkpoint: Checkpoint) -> None:
        """Apply to this object what was committed, then send the signals."""
        changes, execution, skipped = checkpoint
        self.run.remember(changes)
        self.history.due_at = execution.finished_at or self.history.due_at
        facts = {"sender": FeatureRun, "run": self.run, "execution": execution}
        if outcome.failed and changes.get("state") == RunState.WAITING:
            signals.task_retried.send_robust(**facts, error=outcome.error)
        elif outcome.failed:
            self.history.failed |= {outcome.task.name, *(each.name for each in skipped)}
            signals.task_failed.send_robust(**facts, error=outcome.error)
            for each in skipped:
                signals.task_skipped.send_robust(sender=FeatureRun, run=self.run, execution=each)
        else:
            signals.task_succeeded.send_robust(**facts)

    def _lose(self, error: BaseException) -> None:
        """Release the run at this task. As after a crash, we cannot know whether its work took effect."""
        self.database.connection.close()
        claim_id = self.run.claim_id
        message = f"its database connection was lost: {error_fields(error)['error_message']}"
        self.database.retrying(lambda: record_loss(self.run, message, only_if_expired=False))
        # If no loss was recorded, the COMMIT of an atomic task took effect before the connection broke
        self.database.retrying(self.run.reread)
        if self.run.claim_id != claim_id:
            raise ClaimLost(f"run {self.run.pk}: another worker has taken it over while its database was down")
        self.history.read()

    def _changed(self, ctx: Context) -> str | None:
        """Return the frozen context if the task has changed it."""
        frozen = freeze(ctx)
        return None if frozen == self.run.context else frozen

    def _salvaged(self, ctx: Context) -> str | None:
        try:
            return self._changed(ctx)
        except Exception:  # noqa: BLE001 - the task has failed already, perhaps from this same error
            return None
