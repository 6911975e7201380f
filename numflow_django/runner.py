"""Claim a run, run its tasks in order, checkpoint after each, and finish it."""

import asyncio
import inspect
import json
import os
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.utils import timezone

from . import signals
from .conf import conf
from .connections import Watch
from .context import Context, TaskInfo, freeze, thaw
from .discovery import Module
from .exceptions import ClaimLost, TaskError, TaskTimeout, TransactionLeftOpen
from .models import (
    MESSAGE_LENGTH,
    TRACEBACK_LENGTH,
    ExecutionState,
    FeatureRun,
    RunState,
    TaskExecution,
)
from .policy import TaskPolicy
from .redaction import plain, scrub
from .registry import Feature, registry
from .timeout import call_with_limit

#: What a task may end with besides an Exception without ending the worker.
TASK_ERRORS = (Exception, SystemExit, asyncio.CancelledError)

#: Seconds that a cancelled coroutine gets to end in, before the next task begins without waiting for it.
CANCEL_SECONDS = 1.0

_PACKAGE = str(Path(__file__).parent) + os.sep


def run(run_id: UUID, dispatch_no: int, *, worker: str) -> FeatureRun | None:
    """
    Do what the doorbell *dispatch_no* of a run asks for; give the run, or None if it was not to be had.

    Errors of tasks are recorded and logged, never raised; errors of the database are raised, and the run stays
    claimed until its lease ends.
    """
    for alias in registry.databases():
        claimed = FeatureRun.objects.using(alias).claim(run_id, dispatch_no, worker=worker)
        if claimed:
            try:
                _run_claimed(claimed)
            except ClaimLost as lost:
                signals.logger.warning("claim lost run=%s feature=%s: %s", claimed.pk, claimed.feature, lost)
            return claimed
    return None


def _run_claimed(run: FeatureRun) -> None:
    feature = registry.find(run.feature)
    if feature is None:
        _give_back(run, f"unknown feature {run.feature}: this worker's code does not have it; deploy it to the workers")
        return
    signals.run_started.send_robust(sender=FeatureRun, run=run)
    Passage(run, feature).pass_through()


def _give_back(run: FeatureRun, reason: str) -> None:
    run.release(reason)
    signals.logger.warning("run given back run=%s feature=%s reason=%r", run.pk, run.feature, reason)


@dataclass(kw_only=True)
class Outcome:
    """How one execution of a task ended."""

    task: Module
    attempt: int
    started_at: datetime
    context: str | None = None  # the frozen context, if the task changed it
    result: Any = None
    error: BaseException | None = None


#: What a checkpoint wrote: the changes of the run row, and the execution.
Settled = tuple[dict[str, Any], TaskExecution]


class Passage:
    """One claim's way through the tasks of a run."""

    def __init__(self, run: FeatureRun, feature: Feature) -> None:
        self.run = run
        self.feature = feature
        self.attempts: dict[str, int] = {}
        self.failed: set[str] = set()
        if run.token > 1:
            self._recall()

    def _recall(self) -> None:
        """Learn what earlier claims of this run have come to."""
        # From the database of the run row itself: a router may send other reads to a replica that lags
        earlier = TaskExecution.objects.using(self.run._state.db).filter(run=self.run).order_by("id")
        for name, attempt, state, position in earlier.values_list("name", "attempt", "state", "position"):
            self.attempts[name] = attempt
            if position < self.run.position:
                (self.failed.add if state == ExecutionState.FAILED else self.failed.discard)(name)

    def pass_through(self) -> None:
        """Run the tasks that remain. Raise ClaimLost if another worker has taken the run over."""
        while self.run.state == RunState.RUNNING:
            name = self.run.task_names[self.run.position]
            task = self.feature.task(name)
            if task is None:
                _give_back(self.run, f"unknown task {name}: this worker's code of {self.run.feature} does not have it")
                return
            self._execute(task)
        ended = signals.run_succeeded if self.run.state == RunState.SUCCEEDED else signals.run_failed
        ended.send_robust(sender=FeatureRun, run=self.run)

    def _execute(self, task: Module) -> None:
        outcome = Outcome(task=task, attempt=self.attempts.get(task.name, 0) + 1, started_at=timezone.now())
        self.attempts[task.name] = outcome.attempt
        info = TaskInfo(run_id=self.run.pk, name=task.name, attempt=outcome.attempt)
        ctx = thaw(self.run.context, run_id=self.run.pk, task=info)
        ctx._numflow.author = f"async task {task} of {self.feature.label}"
        signals.task_started.send_robust(sender=FeatureRun, run=self.run, task=info)
        policy = self.feature.policy(task)
        settled = None
        try:
            if policy.atomic:
                settled = self._work_atomically(outcome, ctx, policy)
            else:
                self._work(outcome, ctx, policy)
        except ClaimLost:
            raise
        except TASK_ERRORS as error:
            outcome.error = error
            self._fail(outcome, None if policy.atomic else ctx, policy)
        else:
            self._succeed(outcome, settled)

    def _work(self, outcome: Outcome, ctx: Context, policy: TaskPolicy) -> None:
        outcome.result = _storable(_call(outcome.task, ctx, policy.seconds), outcome.task, self.run)
        outcome.context = self._changed(ctx)

    def _work_atomically(self, outcome: Outcome, ctx: Context, policy: TaskPolicy) -> Settled:
        """Run the task and write its checkpoint, in one transaction."""
        database = self.run._state.db
        committed = Event()
        try:
            with transaction.atomic(using=database):
                # Registered first: a callback of the task's that raises makes Django drop those behind it
                transaction.on_commit(committed.set, using=database, robust=True)
                self._work(outcome, ctx, policy)
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

    def _succeed(self, outcome: Outcome, settled: Settled | None) -> None:
        # Written outside the "try" of the task, whose failure an error of the database is not
        changes, execution = settled or self._checkpoint(outcome)
        self.run.remember(changes)
        signals.task_succeeded.send_robust(sender=FeatureRun, run=self.run, execution=execution)

    def _fail(self, outcome: Outcome, ctx: Context | None, policy: TaskPolicy) -> None:
        """Record the failure; what the task stored before it is kept, unless its transaction took it back."""
        assert outcome.error is not None
        self.failed.add(outcome.task.name)
        if ctx is not None:
            outcome.context = self._salvaged(ctx)
        skipped = self._rest(outcome) if policy.stop_on_failure else []
        changes, execution = self._checkpoint(outcome, skipped)
        self.run.remember(changes)
        signals.task_failed.send_robust(sender=FeatureRun, run=self.run, execution=execution, error=outcome.error)
        for left_out in skipped:
            signals.task_skipped.send_robust(sender=FeatureRun, run=self.run, execution=left_out)

    def _changed(self, ctx: Context) -> str | None:
        frozen = freeze(ctx)
        return None if frozen == self.run.context else frozen

    def _salvaged(self, ctx: Context) -> str | None:
        try:
            return self._changed(ctx)
        except Exception:  # noqa: BLE001 - the task has failed already, perhaps of just this
            return None

    def _rest(self, outcome: Outcome) -> list[TaskExecution]:
        names = self.run.task_names
        return [
            self._execution(name, position, ExecutionState.SKIPPED, error_message=f"{outcome.task.name} failed")
            for position, name in enumerate(names[self.run.position + 1 :], self.run.position + 1)
        ]

    def _checkpoint(self, outcome: Outcome, skipped: Sequence[TaskExecution] = ()) -> Settled:
        execution = self._execution(
            outcome.task.name,
            self.run.position,
            ExecutionState.FAILED if outcome.error else ExecutionState.SUCCEEDED,
            attempt=outcome.attempt,
            started_at=outcome.started_at,
            finished_at=timezone.now(),
            **(_error_fields(outcome.error) if outcome.error else {"result": outcome.result}),
        )
        end, reason = None, ""
        if self.run.position + 1 + len(skipped) == len(self.run.task_names):
            end, reason = self._end()
        return self.run.checkpoint([execution, *skipped], context=outcome.context, end=end, reason=reason), execution

    def _end(self) -> tuple[RunState, str]:
        if not self.failed:
            return RunState.SUCCEEDED, ""
        in_order = [name for name in self.run.task_names if name in self.failed]
        return (
            RunState.FAILED,
            f"{len(in_order)} of {len(self.run.task_names)} tasks failed: {', '.join(in_order)}",
        )

    def _execution(self, name: str, position: int, state: ExecutionState, **fields: Any) -> TaskExecution:
        return TaskExecution(
            run=self.run,
            name=name,
            position=position,
            token=self.run.token,
            state=state,
            worker=self.run.worker,
            **fields,
        )


def _call(task: Module, ctx: Context, seconds: float) -> Any:
    """Run the task under its time limit, and leave no trace of it on the database connections."""
    function = partial(_run_coroutine, task.function) if task.is_async else task.function
    watch = Watch()
    try:
        result = call_with_limit(lambda: function(ctx), seconds=seconds, name=f"async task {task} ({task.file})")
    except TaskTimeout:
        watch.renew()  # interrupted in the middle of a query, a connection cannot be trusted
        raise
    except BaseException:
        watch.clean_up()
        raise
    left = watch.clean_up()
    if left:
        raise TransactionLeftOpen(
            f"async task {task} ({task.file}) ended with an open transaction on {', '.join(left)}, which was rolled "
            "back; use 'with transaction.atomic():'"
        )
    if inspect.iscoroutine(result):
        result.close()
        raise TaskError(f"async task {task} ({task.file}) returned a coroutine, which nobody awaits; use 'async def'")
    return result


def _run_coroutine(function: Callable[[Context], Any], ctx: Context) -> Any:
    """Run an async task; interrupted, it is cancelled, and has ended when this raises."""
    begun: list[asyncio.Task[Any] | None] = []
    ended = Event()

    async def body() -> Any:
        begun.append(asyncio.current_task())
        try:
            return await function(ctx)
        finally:
            ended.set()

    try:
        return async_to_sync(body)()
    except BaseException:
        # The alarm rings in this thread, but the coroutine runs in one of its own
        for running in filter(None, begun):
            with suppress(RuntimeError):  # its loop has ended already
                running.get_loop().call_soon_threadsafe(running.cancel)
                ended.wait(CANCEL_SECONDS)
        raise


def _storable(result: Any, task: Module, run: FeatureRun) -> Any:
    """The task's return value as JSON; None, and a warning, if it has no such form."""
    try:
        text = json.dumps(result, cls=DjangoJSONEncoder, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    else:
        if "\\u0000" not in text and size <= conf.CONTEXT_MAX_BYTES:
            return json.loads(text)
        problem = "it holds a NUL, or is larger than NUMFLOW['CONTEXT_MAX_BYTES']"
    signals.logger.warning("result not stored run=%s feature=%s task=%s: %s", run.pk, run.feature, task.name, problem)
    return None


def _error_fields(error: BaseException) -> dict[str, str]:
    kind = type(error)
    return {
        "error_type": plain(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), 200),
        "error_message": scrub(_message(error), MESSAGE_LENGTH),
        "traceback": scrub(_traceback(error), TRACEBACK_LENGTH),
    }


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error that cannot be shown must be recorded all the same
        return "<its str() failed>"


def _traceback(error: BaseException) -> str:
    report = traceback.TracebackException.from_exception(error)
    _drop_our_frames(report)
    return "".join(report.format())


def _drop_our_frames(report: traceback.TracebackException) -> None:
    """Leave the task's own frames; ours tell the reader nothing."""
    theirs = [frame for frame in report.stack if not frame.filename.startswith(_PACKAGE)]
    report.stack[:] = theirs or report.stack[-1:]
    for linked in (report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())):
        if linked is not None:
            _drop_our_frames(linked)
