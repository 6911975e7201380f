"""
The two tables, and every state change of a run.

A FeatureRun is the outbox row and the only row that changes; a TaskExecution is written once. A state change is one
guarded UPDATE: a row count of 0 means that another process was first. All times are compared with the database's own
clock, because the clocks of web and worker hosts differ.
"""

from __future__ import annotations

from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from .conf import conf
from .db import statements
from .db.ids import new_run_id
from .db.lengths import LABEL_LENGTH, PATH_LENGTH, QUEUE_LENGTH, TASK_LENGTH, USER_LENGTH, WORKER_LENGTH
from .db.literals import LiteralChoices
from .db.locks import skip_locked
from .db.timestamps import Now, TimestampField
from .exceptions import ClaimLost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

#: The reason of a run that was claimed in a batch, until its first checkpoint.
CLAIMED_IN_BATCH = "claimed in a batch"

#: A checkpoint renews the lease when one part in this many of it has passed.
FRESH = 8

#: The reason of a run whose wait was ended by hand. Its next task then ignores its own start_after.
WAIT_SKIPPED = "its wait was ended"


class RunState(LiteralChoices):
    """The state of a run."""

    PENDING = "pending", _("pending")
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    ROLLED_BACK = "rolled_back", _("rolled back")


#: The database's own clock, as an SQL expression.
NOW = Now()

#: The new values of ``token`` and ``started_at`` at a claim.
ONE_MORE, STARTED = F("token") + 1, Coalesce("started_at", NOW)

#: States in which a run may still be claimed or dispatched.
OPEN = (RunState.PENDING, RunState.QUEUED, RunState.WAITING)
#: States that a run leaves only if it is resumed.
ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class FeatureRunQuerySet(models.QuerySet["FeatureRun"]):
    """Queries for runs."""

    def claim(self, run_id: UUID, dispatch_no: int, *, worker: str) -> FeatureRun | None:
        """Claim a run that was enqueued under *dispatch_no*. Return it, or None if it cannot be claimed."""
        return next(iter(self._claim(worker, id=run_id, dispatch_no=dispatch_no)), None)

    def claim_batch(self, run_ids: Sequence[UUID], dispatch_no: int, *, worker: str) -> list[FeatureRun]:
        """
        Claim those of several runs that were never claimed before, and return them.

        They have the reason CLAIMED_IN_BATCH until their first checkpoint: if their worker dies before they begin,
        they did not cause the crash. A run that was claimed before may be the one that kills workers, so it is not
        claimed here.
        """
        return self._claim(worker, {"reason": CLAIMED_IN_BATCH}, id=tuple(run_ids), dispatch_no=dispatch_no, token=0)

    def _claim(self, worker: str, more: dict[str, Any] | None = None, **guard: Any) -> list[FeatureRun]:
        changes = {
            "state": RunState.RUNNING,
            "token": ONE_MORE,
            "claim_id": uuid4(),
            "lease_expires_at": _lease_end(),
            "started_at": STARTED,
            "worker": worker,
        }
        self._for_write = True  # a router may send reads to another database
        announced = guard | {"state": (RunState.QUEUED, RunState.PENDING)}
        runs = statements.claim(self, announced, changes | (more or {}))
        for run in runs:
            run.held_at = monotonic()
        return runs

    def open(self, *, wait: float, **facts: Any) -> FeatureRun:
        """Insert a run that may begin in *wait* seconds, and return it. With 0 the caller must enqueue it now."""
        if wait:
            return self.create(state=RunState.WAITING, available_at=Now(wait), reason="not before its time", **facts)
        # Insert it as queued: it is enqueued right after COMMIT, before which no other process sees the row. So a
        # request costs one INSERT, and the row becomes pending only if the run cannot be enqueued
        self._for_write = True
        born = {"state": RunState.QUEUED, "dispatch_no": 1, "queued_at": NOW}
        return statements.insert(self, {"id": new_run_id()} | facts | born)

    def log_rollback(self, **facts: Any) -> FeatureRun:
        """Insert the log of a request that was rolled back, and return it. It is never enqueued."""
        return self.create(state=RunState.ROLLED_BACK, finished_at=Now(), **facts)

    def due(self, state: RunState | None = None) -> Self:
        """Return the runs, of one *state* or all, that are not enqueued and may run now."""
        states = (RunState.PENDING, RunState.WAITING) if state is None else (state,)
        return self.filter(state__in=states, available_at__lte=Now())

    def beyond(self, column: str, value: Any, pk: UUID) -> Self:
        """Return the rows after the one with this *value* and key, in the order of *column* and key."""
        same = Q((column, value), pk__gt=pk)
        # The first condition is redundant, but shows the database where in its index to begin
        return self.filter(Q((f"{column}__gte", value)), same | Q((f"{column}__gt", value)))

    def expired(self) -> Self:
        """Return the running runs whose lease has expired."""
        return self.filter(state=RunState.RUNNING, lease_expires_at__lt=Now())

    def queued(self, queue: str | None = None, *, since: float | None = None) -> Self:
        """Return the queued runs, optionally only those of *queue* and those queued in the last *since* seconds."""
        runs = self.filter(state=RunState.QUEUED)
        if queue is not None:
            runs = runs.filter(queue=queue)
        return runs if since is None else runs.filter(queued_at__gt=Now(-since))

    def held_by(self, worker: str) -> Self:
        """Return the runs that *worker* has claimed."""
        return self.filter(state=RunState.RUNNING, worker=worker)


class FeatureRun(models.Model):
    """One run of a feature: its steps, context and async tasks. The row is the outbox and the source of truth."""

    id = models.UUIDField(_("ID"), primary_key=True, default=new_run_id, editable=False)
    feature = models.CharField(_("feature"), max_length=LABEL_LENGTH)
    queue = models.CharField(_("queue"), max_length=QUEUE_LENGTH)
    state = models.CharField(_("state"), max_length=12, choices=RunState.choices)
    context = models.TextField(_("context"), default="{}")  # tagged JSON as text: jsonb cannot store NUL or big floats
    task_names = models.JSONField(_("async tasks"), default=list)
    position = models.PositiveIntegerField(_("position"), default=0)  # the tasks before it are settled
    token = models.PositiveIntegerField(_("claims"), default=0)
    resumed_token = models.PositiveIntegerField(
        _("claims before it was resumed"), default=0
    )  # attempts under them no longer count
    claim_id = models.UUIDField(_("claim ID"), null=True)
    dispatch_no = models.PositiveIntegerField(_("dispatches"), default=0)
    available_at = TimestampField(_("available at"), db_default=Now())
    queued_at = TimestampField(_("queued at"), null=True)
    lease_expires_at = TimestampField(_("lease expires at"), null=True)
    worker = models.CharField(_("worker"), max_length=WORKER_LENGTH, blank=True)
    cancel_requested = models.BooleanField(_("cancel requested"), default=False)
    reason = models.TextField(_("reason"), blank=True)
    steps = models.JSONField(_("steps"), default=list)  # [{"number", "name", "ms", "error"?}]
    method = models.CharField(_("method"), max_length=10, blank=True)
    path = models.CharField(_("path"), max_length=PATH_LENGTH, blank=True)
    status_code = models.PositiveSmallIntegerField(_("status code"), null=True)
    traceback = models.TextField(_("traceback"), blank=True, db_default="")  # of the error that rolled the request back
    created_by = models.CharField(_("created by"), max_length=USER_LENGTH, blank=True)
    created_at = TimestampField(_("created at"), db_default=Now())
    started_at = TimestampField(_("started at"), null=True)
    finished_at = TimestampField(_("finished at"), null=True)

    held_at = 0.0  # when this process last wrote the lease, in monotonic seconds

    objects = FeatureRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        permissions = [("operate_featurerun", _("Can cancel runs and run their tasks again"))]
        indexes = [
            models.Index(fields=["state", "available_at"], name="numflow_run_due"),
            models.Index(fields=["state", "lease_expires_at"], name="numflow_run_lease"),
            models.Index(fields=["created_at"], name="numflow_run_created"),
            models.Index(fields=["feature", "created_at"], name="numflow_run_feature"),
        ]

    def __str__(self) -> str:
        return f"{self.feature} {self.pk}"

    @property
    def log(self) -> models.QuerySet[TaskExecution]:
        """Return the executions so far, from the run's own database: a router may send reads to a replica that lags."""
        return TaskExecution.objects.using(self._state.db).filter(run_id=self.pk).order_by("id")

    def reread(self) -> None:
        """Read the row again from its own database."""
        self.refresh_from_db(using=self._state.db)

    # State changes by the worker that holds the run. Each is guarded by its claim and raises ClaimLost if that is lost

    def checkpoint(
        self,
        executions: Sequence[TaskExecution],
        *,
        context: str | None = None,
        end: RunState | None = None,
        reason: str = "",
    ) -> dict[str, Any]:
        """
        Write *executions* and advance the row past them in one transaction. With *end*, the run ends in that state.

        If cancellation was requested, the run ends here. Return the changes of the row, for :meth:`remember` after the
        commit. Raise ClaimLost if another worker has the run.
        """
        changes: dict[str, Any] = {"position": self.position + len(executions), "reason": reason}
        if monotonic() - self.held_at > conf.LEASE_SECONDS / FRESH:
            # A task that held SQLite's only write lock has blocked the renewal of the lease. Not at each checkpoint,
            # because the column has an index
            changes["lease_expires_at"] = _lease_end()
        if context is not None:
            changes["context"] = context
        if end is not None:
            changes |= _ended(end)
        return self._advance(changes, executions)

    def postpone(
        self, executions: Sequence[TaskExecution], *, seconds: float, reason: str, context: str | None = None
    ) -> dict[str, Any]:
        """Postpone the run and its current task for *seconds*: running -> waiting. Return the changes."""
        changes = _given_up(RunState.WAITING, reason) | {"available_at": Now(seconds)}
        if context is not None:
            changes["context"] = context
        return self._advance(changes, executions)

    def release(self, reason: str) -> dict[str, Any]:
        """Release the unfinished run to other workers: running -> pending. Return the changes."""
        return self._advance(_given_up(RunState.PENDING, reason) | {"available_at": Now()}, [])

    def fail(self, reason: str) -> dict[str, Any]:
        """End the run with tasks that did not run: running -> failed. Return the changes."""
        return self._advance(_ended(RunState.FAILED) | {"reason": reason}, [])

    def renew_lease(self) -> bool:
        """Extend the lease by LEASE_SECONDS. Return whether this claim still holds the run."""
        is_ours = bool(self._mine().update(lease_expires_at=_lease_end()))
        if is_ours:
            self.held_at = monotonic()
        return is_ours

    def remember(self, changes: dict[str, Any]) -> None:
        """Copy to this object the values that a state change wrote."""
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self, name, value)

    def _mine(self) -> FeatureRunQuerySet:
        return FeatureRun.objects.using(self._state.db).filter(
            pk=self.pk, state=RunState.RUNNING, claim_id=self.claim_id
        )

    def _advance(self, changes: dict[str, Any], executions: Sequence[TaskExecution]) -> dict[str, Any]:
        facts: dict[str, Any] = {"id": self.pk, "state": RunState.RUNNING, "claim_id": self.claim_id}
        facts["position"] = self.position
        unless_cancelled = facts if changes.get("state") in ENDED else facts | {"cancel_requested": False}
        if not statements.advance(self, unless_cancelled, changes, executions):
            if self._is_written(changes):
                return changes  # by our own earlier COMMIT, whose answer was lost with the connection
            changes = changes | _cancelled()
            if unless_cancelled is facts or not statements.advance(self, facts, changes, executions):
                raise ClaimLost(f"run {self.pk}: somebody else has taken it over; this worker stops and writes nothing")
        if "lease_expires_at" in changes:
            self.held_at = monotonic()
        return changes

    def _is_written(self, changes: dict[str, Any]) -> bool:
        position, state = changes.get("position", self.position), changes.get("state", RunState.RUNNING)
        ours = FeatureRun.objects.using(self._state.db).filter(pk=self.pk, claim_id=self.claim_id)
        return ours.filter(position=position, state=state).exists()

    # State changes by other processes

    def lose(
        self, executions: Sequence[TaskExecution], *, settled: int, end: RunState | None, reason: str, expired: bool
    ) -> bool:
        """
        Record that the worker died: running -> pending, or to *end*. Return False if another process was first.

        *settled* is the number of tasks that have ended for good. With *expired*, do nothing if the lease was renewed.
        If cancellation was requested, the run ends here.
        """
        changes = _ended(end) if end else _given_up(RunState.PENDING, reason) | {"available_at": Now()}
        changes |= {"position": self.position + settled, "reason": reason}
        with transaction.atomic(using=self._state.db):
            held = self._mine().filter(position=self.position)
            if expired:
                # A suspended worker, or one on a lost host, may still hold the row lock. The relay must not wait for it
                held = skip_locked(held.expired())
            lost = (held if end else held.filter(cancel_requested=False)).update(**changes)
            lost = lost or held.filter(cancel_requested=True).update(**changes | _cancelled())
            if lost:
                TaskExecution.objects.using(self._state.db).bulk_create(executions)
        return bool(lost)

    def begin_dispatch(self) -> bool:
        """Record that the run is about to be enqueued under the next *dispatch_no*: pending or waiting -> queued."""
        due = FeatureRun.objects.using(self._state.db).due().filter(pk=self.pk, dispatch_no=self.dispatch_no)
        self.dispatch_no += 1
        return bool(due.update(state=RunState.QUEUED, dispatch_no=self.dispatch_no, queued_at=Now()))

    def undispatch(self) -> bool:
        """Record that the run was not enqueued, or that Redis lost its job: queued -> pending."""
        queued = FeatureRun.objects.using(self._state.db).filter(
            pk=self.pk, dispatch_no=self.dispatch_no, state=RunState.QUEUED
        )
        changes = {"state": RunState.PENDING, "queued_at": None}
        done = bool(queued.update(**changes))
        if done:
            self.remember(changes)
        return done

    def skip_wait(self) -> bool:
        """End the wait for a retry or a start time: waiting -> pending. Return False if the run does not wait."""
        mine = FeatureRun.objects.using(self._state.db).filter(pk=self.pk, state=RunState.WAITING)
        return bool(mine.update(state=RunState.PENDING, available_at=Now(), reason=WAIT_SKIPPED))

    def cancel(self) -> bool:
        """
        Cancel the run: at once, or after the current task if a worker has the run.

        Return False if the run has ended already.
        """
        mine = FeatureRun.objects.using(self._state.db).filter(pk=self.pk)
        # First the request: a worker that claims or releases the run between these two updates will see it
        asked = mine.filter(state__in=(*OPEN, RunState.RUNNING)).update(cancel_requested=True)
        mine.filter(state__in=OPEN).update(**_ended(RunState.CANCELLED), reason="cancelled")
        return bool(asked)

    def unsettled(self, *, only_failed: bool = False) -> list[str]:
        """Return the names of the tasks that have not succeeded, or with *only_failed* that failed, in order."""
        states = dict(self.log.values_list("name", "state"))
        again = (ExecutionState.FAILED, ExecutionState.LOST)
        return [
            name
            for name in self.task_names
            if (states.get(name) in again if only_failed else states.get(name) != ExecutionState.SUCCEEDED)
        ]

    def resume(self, *, only_failed: bool = False) -> bool:
        """
        Run again the tasks that have not succeeded, or with *only_failed* that failed, with the current context.

        Return False if the run is not failed or cancelled. The tasks to run move behind the others, and their failures
        and crashes so far no longer count for ``max_attempts`` and ``TASK_MAX_CRASHES``.
        """
        todo = self.unsettled(only_failed=only_failed)
        done = [name for name in self.task_names if name not in todo]
        ended = FeatureRun.objects.using(self._state.db).filter(
            pk=self.pk, state__in=(RunState.FAILED, RunState.CANCELLED), token=self.token
        )
        changes = _given_up(RunState.PENDING, "resumed") | {"finished_at": None, "cancel_requested": False}
        changes |= {"task_names": [*done, *todo], "position": len(done), "resumed_token": self.token}
        return bool(todo) and bool(ended.update(**changes, available_at=Now()))


def _lease_end() -> Any:
    return _in(conf.LEASE_SECONDS)


@lru_cache(maxsize=8)
def _in(seconds: float) -> Any:
    # Cached, because a statement is looked up by its expressions
    return Now(seconds)


def _ended(state: RunState) -> dict[str, Any]:
    return {"state": state, "finished_at": NOW, "lease_expires_at": None}


def _cancelled() -> dict[str, Any]:
    return _ended(RunState.CANCELLED) | {"reason": "cancelled between two tasks"}


def _given_up(state: RunState, reason: str) -> dict[str, Any]:
    return {"state": state, "reason": reason, "lease_expires_at": None, "queued_at": None}


class ExecutionState(LiteralChoices):
    """How one execution of a task ended."""

    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    LOST = "lost", _("lost")
    SKIPPED = "skipped", _("skipped")


class TaskExecution(models.Model):
    """One execution of one async task. The table is the task log; a row is written once and never changed."""

    run = models.ForeignKey(FeatureRun, models.CASCADE, related_name="executions", verbose_name=_("run"))
    name = models.CharField(_("async task"), max_length=TASK_LENGTH)
    position = models.PositiveIntegerField(_("position"))
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    token = models.PositiveIntegerField(_("claim"))
    state = models.CharField(_("state"), max_length=12, choices=ExecutionState.choices)
    started_at = TimestampField(_("started at"), null=True)
    finished_at = TimestampField(_("finished at"), null=True)
    worker = models.CharField(_("worker"), max_length=WORKER_LENGTH, blank=True)
    result = models.JSONField(_("result"), null=True)
    error_type = models.CharField(_("error type"), max_length=200, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)

    class Meta:
        verbose_name = _("task execution")
        verbose_name_plural = _("task log")
        indexes = [models.Index(fields=["state", "id"], name="numflow_execution_state")]

    def __str__(self) -> str:
        return f"{self.name} #{self.attempt}"

    @property
    def duration(self) -> timedelta | None:
        """Return how long the task ran, or None if it did not run or did not end."""
        started: datetime | None = self.started_at
        return self.finished_at - started if started and self.finished_at else None
