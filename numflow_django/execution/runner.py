"""Claim a run, execute its tasks in order, write a checkpoint after each, and end the run."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from .. import signals
from ..context import Author, Context, TaskInfo, freeze, thaw
from ..discovery.modules import Module
from ..discovery.policy import MAX_REQUEST_ATTEMPTS, Retry, TaskPolicy
from ..discovery.registry import registry
from ..exceptions import ClaimLost
from ..models import WAIT_SKIPPED, ExecutionState, FeatureRun, RunState, TaskExecution
from .lease import Lease
from .recovery import record_loss, skipped
from .task import TASK_ERRORS, call, error_fields, storable

T = TypeVar("T")

#: How long a run waits for code that has its feature and tasks, for example during a deploy.
DEPLOY_PATIENCE = timedelta(minutes=15)
#: The advice for a run whose feature or task has been missing from every worker's code for that long.
PUT_BACK = "put it back, restart the workers, and resume the run"
#: Seconds until another worker may claim the run.
DEPLOY_RETRY = 30

#: Seconds between the attempts to write to a database that is down. After the last one, the run's lease expires.
WRITE_WAITS = (0.2, 0.5, 1, 2, 4)

_UNKNOWN_SINCE = re.compile(rf"{signals.UNKNOWN}.* since (?P<since>\S+);")

#: What a checkpoint wrote: the changes of the run row, the execution, and the executions of the skipped tasks.
Settled = tuple[dict[str, Any], TaskExecution, list[TaskExecution]]


class Stop:
    """Whether this process was asked to hand over its run."""

    requested = False


def request_stop() -> None:
    """Ask for a hand-over after the current task. It is safe to call this from a signal handler."""
    Stop.requested = True


def run(run_id: UUID, dispatch_no: int, *, worker: str) -> FeatureRun | None:
    """
    Claim the run that was enqueued under *dispatch_no* and execute it. Return it, or None if it cannot be claimed.

    Errors of tasks are recorded and logged, never raised. Errors of the database are raised, and the run stays
    claimed until its lease expires.
    """
    for alias in registry.databases():
        claimed = FeatureRun.objects.using(alias).claim(run_id, dispatch_no, worker=worker)
        if claimed:
            run_claimed(claimed)
            return claimed
    if not any(FeatureRun.objects.using(alias).filter(pk=run_id).exists() for alias in registry.databases()):
        signals.logger.warning(
            "run not found run=%s: it was deleted, or a site with another database rings in the same queue of the same "
            "Redis; give each site a Redis database or queue names of its own",
            run_id,
        )
    return None


def claim_batch(run_ids: Sequence[UUID], dispatch_no: int, *, worker: str) -> list[FeatureRun]:
    """Claim several runs that were enqueued under *dispatch_no*. Return those that could be claimed."""
    runs: list[FeatureRun] = []
    for alias in registry.databases():
        if len(runs) < len(run_ids):
            runs += FeatureRun.objects.using(alias).claim_batch(run_ids, dispatch_no, worker=worker)
    return runs


def run_claimed(run: FeatureRun, *, lease: Callable[[FeatureRun], AbstractContextManager[Any]] = Lease) -> None:
    """Execute the tasks of a run that this process has claimed, and hold its *lease* meanwhile."""
    signals.run_started.send_robust(sender=FeatureRun, run=run)
    try:
        with lease(run):
            RunExecutor(run).execute()
    except ClaimLost as lost:
        signals.logger.warning("claim lost run=%s feature=%s: %s", run.pk, run.feature, lost)


@dataclass(kw_only=True)
class Outcome:
    """The result of one execution of a task."""

    task: Module
    policy: TaskPolicy
    attempt: int
    forgiven: int  # attempts before the run was last resumed, which the policy does not count
    started_at: datetime
    context: str | None = None  # the frozen context, if the task changed it
    result: Any = None  # JSON
    retry: Retry | None = None  # what the task returned to be run again
    error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Return whether this execution failed. One that returned a Retry counts as failed."""
        return self.error is not None or self.retry is not None

    def wait(self) -> float | None:
        """Return the seconds until the task is retried, or None if this was its last execution."""
        attempt = self.attempt - self.forgiven
        if self.error is not None:
            return self.policy.wait_after(self.error, attempt)
        if self.retry is None:
            return None
        limit = self.retry.max_attempts or max(self.policy.attempts, MAX_REQUEST_ATTEMPTS)
        return self.retry.delay if attempt < limit else None

    def fields(self) -> dict[str, Any]:
        """Return the fields of this outcome for the task log."""
        if self.error is not None:
            return error_fields(self.error)
        if self.retry is not None:
            return {"error_type": "Retry", "error_message": f"the task asked to be run again: {self.retry!r}"}
        return {"result": self.result}


class RetryAsked(Exception):
    """An atomic task returned a Retry. Its transaction must be rolled back, or its work would be done twice."""


class RunExecutor:
    """Execute the tasks of a run under one claim."""

    def __init__(self, run: FeatureRun) -> None:
        self.run = run
        self.attempts: dict[str, int] = {}
        self.forgiven: dict[str, int] = {}  # of these, the ones before the run was last resumed
        self.failed: set[str] = set()
        self.raw: Any = None  # the driver's connection that an atomic task began on
        self.due_at = run.created_at  # when the task at the position became due
        if run.token > 1:
            self._recall()

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Return the connection to the database of the run row."""
        return connections[self.run._state.db or "default"]

    def _recall(self) -> None:
        """Read from the task log what earlier claims of this run have done."""
        settled = self.run.task_names[: self.run.position]
        # A task may never have run: the run was cancelled, then resumed for its failures only. It has not succeeded
        self.failed = set(settled)
        facts = ("name", "attempt", "token", "state", "finished_at")
        for name, attempt, token, state, finished_at in self.run.log.values_list(*facts):
            if state != ExecutionState.SKIPPED:
                self.attempts[name] = attempt
                if token <= self.run.resumed_token:
                    self.forgiven[name] = attempt
            if name in settled:
                (self.failed.discard if state == ExecutionState.SUCCEEDED else self.failed.add)(name)
                self.due_at = finished_at or self.due_at

    def execute(self) -> None:
        """Execute the tasks that remain. Raise ClaimLost if another worker has taken the run over."""
        feature = registry.find(self.run.feature)
        while self.run.state == RunState.RUNNING:
            name = self.run.task_names[self.run.position]
            task = feature.task(name) if feature else None
            if Stop.requested:
                self._write(lambda: self.run.release("handed over: its worker was stopped"))
            elif feature is None or task is None:
                self._wait_for_code(f"feature {self.run.feature}" if feature is None else f"task {name}")
            else:
                self._start(task, feature.policy(task))
        self._announce_end()

    def _announce_end(self) -> None:
        ended = {
            RunState.SUCCEEDED: signals.run_succeeded,
            RunState.FAILED: signals.run_failed,
            RunState.CANCELLED: signals.run_cancelled,
        }.get(RunState(self.run.state), signals.run_released)
        ended.send_robust(sender=FeatureRun, run=self.run)

    def _wait_for_code(self, what: str) -> None:
        """Postpone the run until a worker has its code. Fail the run after DEPLOY_PATIENCE."""
        known = _UNKNOWN_SINCE.match(self.run.reason)
        since = datetime.fromisoformat(known["since"]) if known else timezone.now()
        unknown, minutes = f"{signals.UNKNOWN}{what}", DEPLOY_PATIENCE.seconds // 60
        if timezone.now() - since > DEPLOY_PATIENCE:
            reason = f"{unknown}: no worker's code has had it for {minutes} minutes; {PUT_BACK}"
            self._write(lambda: self.run.fail(reason))
        else:
            hope = f"restart the workers if it is new; waiting for one whose code has it, {minutes} minutes at most"
            reason = f"{unknown} since {since.isoformat()}; {hope}"
            self._write(lambda: self.run.postpone([], seconds=DEPLOY_RETRY, reason=reason))

    def _start(self, task: Module, policy: TaskPolicy) -> None:
        """Execute the task, or postpone the run until the task's start time."""
        wait = 0.0
        if policy.start_after and task.name not in self.attempts and self.run.reason != WAIT_SKIPPED:
            wait = (self.due_at + timedelta(seconds=policy.start_after) - timezone.now()).total_seconds()
        if wait > 0:
            self._write(lambda: self.run.postpone([], seconds=wait, reason=f"{task.name} starts later"))
        else:
            self._execute(task, policy)

    def _execute(self, task: Module, policy: TaskPolicy) -> None:
        attempt = self.attempts[task.name] = self.attempts.get(task.name, 0) + 1
        forgiven = self.forgiven.get(task.name, 0)
        outcome = Outcome(task=task, policy=policy, attempt=attempt, forgiven=forgiven, started_at=timezone.now())
        info = TaskInfo(run_id=self.run.pk, name=task.name, attempt=attempt)
        ctx = thaw(self.run.context, run_id=self.run.pk, task=info)
        ctx._numflow.author = Author("async task", task, self.run.feature)
        signals.task_started.send_robust(sender=FeatureRun, run=self.run, task=info)
        settled = self.raw = None
        try:
            if policy.atomic:
                settled = self._work_atomically(outcome, ctx)
            else:
                self._work(outcome, ctx)
        except ClaimLost:
            raise
        except RetryAsked:
            outcome.context = None
        except TASK_ERRORS as error:
            if self._is_connection_lost(error):
                self._lose(error)
                return
            outcome.error = error
            # Keep what the task stored before it failed, unless its transaction was rolled back
            outcome.context = None if policy.atomic else self._salvaged(ctx)
        # Outside the try: a database error here is not the task's failure
        self._settle(outcome, settled or self._written(lambda: self._checkpoint(outcome)))

    def _work(self, outcome: Outcome, ctx: Context) -> None:
        returned = call(outcome.task, ctx, outcome.policy.seconds)
        if isinstance(returned, Retry):
            outcome.retry = returned
        else:
            outcome.result = storable(returned, run=self.run, task=outcome.task)
        outcome.context = self._changed(ctx)

    def _work_atomically(self, outcome: Outcome, ctx: Context) -> Settled:
        """Run the task and write its checkpoint in one transaction."""
        database = self.run._state.db
        committed = Event()
        self.raw = self.connection.connection
        try:
            with transaction.atomic(using=database):
                # Registered first: if a callback of the task raises, Django drops the callbacks after it
                transaction.on_commit(committed.set, using=database, robust=True)
                self._work(outcome, ctx)
                if outcome.retry is not None:
                    raise RetryAsked
                settled = self._checkpoint(outcome)
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
        return settled

    def _checkpoint(self, outcome: Outcome) -> Settled:
        """Write the outcome of the task and the new state of the run."""
        execution = self._execution(outcome)
        wait = outcome.wait()
        if wait is not None:
            reason = f"{outcome.task.name} is tried again after {execution.error_type}"
            changes = self.run.postpone([execution], seconds=wait, reason=reason, context=outcome.context)
            return changes, execution, []
        rest = skipped(self.run, outcome.task.name) if outcome.failed and outcome.policy.stop_on_failure else []
        end, reason = None, ""
        if self.run.position + 1 + len(rest) == len(self.run.task_names):
            end, reason = self._end(outcome)
        changes = self.run.checkpoint([execution, *rest], context=outcome.context, end=end, reason=reason)
        return changes, execution, rest

    def _settle(self, outcome: Outcome, settled: Settled) -> None:
        """Apply to this object what was committed, then send the signals."""
        changes, execution, rest = settled
        self.run.remember(changes)
        self.due_at = execution.finished_at or self.due_at
        facts = {"sender": FeatureRun, "run": self.run, "execution": execution}
        if outcome.failed and changes.get("state") == RunState.WAITING:
            signals.task_retried.send_robust(**facts, error=outcome.error)
        elif outcome.failed:
            self.failed |= {outcome.task.name, *(left_out.name for left_out in rest)}
            signals.task_failed.send_robust(**facts, error=outcome.error)
            for left_out in rest:
                signals.task_skipped.send_robust(sender=FeatureRun, run=self.run, execution=left_out)
        else:
            signals.task_succeeded.send_robust(**facts)

    def _write(self, transition: Callable[[], dict[str, Any]]) -> None:
        self.run.remember(self._written(transition))

    def _written(self, write: Callable[[], T]) -> T:
        """Write, and wait while the database is down: the work is done and only its record is missing."""
        for wait in WRITE_WAITS:
            try:
                return write()
            except (OperationalError, InterfaceError) as error:
                if self.connection.in_atomic_block:
                    raise
                signals.logger.warning("not written run=%s error=%r; trying again", self.run.pk, error)
                self.connection.close()
                time.sleep(wait)
        return write()

    def _is_connection_lost(self, error: BaseException) -> bool:
        """Return whether *error* comes from a lost database connection and not from the task."""
        if not isinstance(error, OperationalError | InterfaceError) or self.connection.in_atomic_block:
            return False
        if self.connection.closed_in_transaction:
            return False  # the task itself closed it
        raw = self.connection.connection
        # If the server closed the connection during an atomic task, Django has opened a new one to roll back
        return raw is None or raw is not (self.raw or raw) or not self.connection.is_usable()

    def _lose(self, error: BaseException) -> None:
        """Release the run at this task. As after a crash, we cannot know whether its work took effect."""
        self.connection.close()
        claim_id = self.run.claim_id
        message = f"its database connection was lost: {error_fields(error)['error_message']}"
        self._written(lambda: record_loss(self.run, message, expired=False))
        # If no loss was recorded, the COMMIT of an atomic task took effect before the connection broke
        self._written(self.run.reread)
        if self.run.claim_id != claim_id:
            raise ClaimLost(f"run {self.run.pk}: somebody else has taken it over while its database was away")
        self._recall()

    def _changed(self, ctx: Context) -> str | None:
        frozen = freeze(ctx)
        return None if frozen == self.run.context else frozen

    def _salvaged(self, ctx: Context) -> str | None:
        try:
            return self._changed(ctx)
        except Exception:  # noqa: BLE001 - the task has failed already, perhaps from this same error
            return None

    def _end(self, outcome: Outcome) -> tuple[RunState, str]:
        failed = self.failed | ({outcome.task.name} if outcome.failed else set())
        if not failed:
            return RunState.SUCCEEDED, ""
        names = [name for name in self.run.task_names if name in failed]
        return RunState.FAILED, f"{len(names)} of {len(self.run.task_names)} tasks failed: {', '.join(names)}"

    def _execution(self, outcome: Outcome) -> TaskExecution:
        return TaskExecution(
            run=self.run,
            name=outcome.task.name,
            position=self.run.position,
            attempt=outcome.attempt,
            token=self.run.token,
            state=ExecutionState.FAILED if outcome.failed else ExecutionState.SUCCEEDED,
            started_at=outcome.started_at,
            finished_at=timezone.now(),
            worker=self.run.worker,
            **outcome.fields(),
        )
