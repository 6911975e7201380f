"""
A run of a feature: its columns, and every change of its state.

The row is the outbox and the only row that changes. A state change is one guarded UPDATE: a row count of 0 means that
another process was first.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from ..conf import conf
from ..db import statements
from ..db.ids import new_run_id
from ..db.lengths import LABEL_LENGTH, PATH_LENGTH, QUEUE_LENGTH, USER_LENGTH, WORKER_LENGTH
from ..db.locks import skip_locked
from ..db.timestamps import Now, TimestampField
from ..exceptions import ClaimLost
from .changes import cancelled, ended, released
from .clock import lease_end
from .queryset import FeatureRunQuerySet
from .states import ENDED, OPEN, ExecutionState, RunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .execution import TaskExecution

#: A checkpoint renews the lease when this fraction of it has passed.
RENEW_AFTER = 1 / 8

#: The reason of a run whose wait was ended by hand. Its next task then ignores its own start_after.
WAIT_SKIPPED = "its wait was ended"


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
        return self._executions().order_by("id")

    def _executions(self) -> models.QuerySet[TaskExecution]:
        # Not the related manager, which refuses a run that was deleted
        model: type[TaskExecution] = apps.get_model("numflow_django", "TaskExecution")
        return model.objects.using(self._state.db).filter(run_id=self.pk)

    def _row(self, **guard: Any) -> FeatureRunQuerySet:
        """Return the row of this run, in its own database, if it matches *guard*."""
        return FeatureRun.objects.using(self._state.db).filter(pk=self.pk, **guard)

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
        if self.has_used_lease(RENEW_AFTER):
            # A task that held SQLite's only write lock has blocked the renewal of the lease. Not at each checkpoint,
            # because the column has an index
            changes["lease_expires_at"] = lease_end()
        if context is not None:
            changes["context"] = context
        if end is not None:
            changes |= ended(end)
        return self._change_if_held(changes, executions)

    def postpone(
        self, executions: Sequence[TaskExecution], *, seconds: float, reason: str, context: str | None = None
    ) -> dict[str, Any]:
        """Postpone the run and its current task for *seconds*: running -> waiting. Return the changes."""
        changes = released(RunState.WAITING, reason) | {"available_at": Now(seconds)}
        if context is not None:
            changes["context"] = context
        return self._change_if_held(changes, executions)

    def release(self, reason: str) -> dict[str, Any]:
        """Release the unfinished run to other workers: running -> pending. Return the changes."""
        return self._change_if_held(released(RunState.PENDING, reason) | {"available_at": Now()}, [])

    def fail(self, reason: str) -> dict[str, Any]:
        """End the run with tasks that did not run: running -> failed. Return the changes."""
        return self._change_if_held(ended(RunState.FAILED) | {"reason": reason}, [])

    def has_used_lease(self, fraction: float = 1) -> bool:
        """Return whether this *fraction* of the lease that this process wrote last has passed; 1: it has expired."""
        return monotonic() - self.held_at > conf.LEASE_SECONDS * fraction

    def renew_lease(self) -> bool:
        """Extend the lease by LEASE_SECONDS. Return whether this claim still holds the run."""
        is_ours = bool(self._mine().update(lease_expires_at=lease_end()))
        if is_ours:
            self.held_at = monotonic()
        return is_ours

    def remember(self, changes: dict[str, Any]) -> None:
        """Copy to this object the values that a state change wrote."""
        for name, value in changes.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self, name, value)

    def _mine(self) -> FeatureRunQuerySet:
        return self._row(state=RunState.RUNNING, claim_id=self.claim_id)

    def _change_if_held(self, changes: dict[str, Any], executions: Sequence[TaskExecution]) -> dict[str, Any]:
        guard: dict[str, Any] = {"id": self.pk, "state": RunState.RUNNING, "claim_id": self.claim_id}
        guard["position"] = self.position
        # A run that ends keeps its own end, even if its cancellation was requested
        can_be_cancelled = changes.get("state") not in ENDED
        strict = guard | {"cancel_requested": False} if can_be_cancelled else guard
        if not statements.advance(self, strict, changes, executions):
            if self._is_written(changes):
                return changes
            changes = changes | cancelled()
            if not (can_be_cancelled and statements.advance(self, guard, changes, executions)):
                raise ClaimLost(
                    f"run {self.pk}: another process has taken it over; this worker stops and writes nothing"
                )
        if "lease_expires_at" in changes:
            self.held_at = monotonic()
        return changes

    def _is_written(self, changes: dict[str, Any]) -> bool:
        """Return whether our own earlier COMMIT wrote *changes*, and its answer was lost with the connection."""
        position, state = changes.get("position", self.position), changes.get("state", RunState.RUNNING)
        return self._row(claim_id=self.claim_id, position=position, state=state).exists()

    # State changes by other processes

    def recover(
        self,
        executions: Sequence[TaskExecution],
        *,
        settled: int,
        end: RunState | None,
        reason: str,
        only_if_expired: bool,
    ) -> bool:
        """
        Take the run from its dead worker: running -> pending, or to *end*. Return False if another process was first.

        *settled* is the number of tasks that have ended for good. With *only_if_expired*, do nothing if the lease was
        renewed. If cancellation was requested, the run ends here.
        """
        changes = ended(end) if end else released(RunState.PENDING, reason) | {"available_at": Now()}
        changes |= {"position": self.position + settled, "reason": reason}
        with transaction.atomic(using=self._state.db):
            held = self._mine().filter(position=self.position)
            if only_if_expired:
                # A suspended worker, or one on a lost host, may still hold the row lock. The relay must not wait for it
                held = skip_locked(held.expired())
            done = (held if end else held.filter(cancel_requested=False)).update(**changes)
            done = done or held.filter(cancel_requested=True).update(**changes | cancelled())
            if done:
                self._executions().bulk_create(executions)
        return bool(done)

    def begin_dispatch(self) -> bool:
        """Record that the run is about to be enqueued under the next *dispatch_no*: pending or waiting -> queued."""
        due = self._row(dispatch_no=self.dispatch_no).due()
        self.dispatch_no += 1
        return bool(due.update(state=RunState.QUEUED, dispatch_no=self.dispatch_no, queued_at=Now()))

    def undispatch(self) -> bool:
        """Record that the run was not enqueued, or that Redis lost its job: queued -> pending."""
        queued = self._row(dispatch_no=self.dispatch_no, state=RunState.QUEUED)
        changes = {"state": RunState.PENDING, "queued_at": None}
        done = bool(queued.update(**changes))
        if done:
            self.remember(changes)
        return done

    def skip_wait(self) -> bool:
        """End the wait for a retry or a start time: waiting -> pending. Return False if the run does not wait."""
        waiting = self._row(state=RunState.WAITING)
        return bool(waiting.update(state=RunState.PENDING, available_at=Now(), reason=WAIT_SKIPPED))

    def cancel(self) -> bool:
        """
        Cancel the run: at once, or after the current task if a worker has the run.

        Return False if the run has ended already.
        """
        # First the request: a worker that claims or releases the run between these two updates will see it
        asked = self._row(state__in=(*OPEN, RunState.RUNNING)).update(cancel_requested=True)
        self._row(state__in=OPEN).update(**ended(RunState.CANCELLED), reason="cancelled")
        return bool(asked)

    def not_succeeded(self, *, only_failed: bool = False) -> list[str]:
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
        todo = self.not_succeeded(only_failed=only_failed)
        done = [name for name in self.task_names if name not in todo]
        stopped = self._row(state__in=(RunState.FAILED, RunState.CANCELLED), token=self.token)
        changes = released(RunState.PENDING, "resumed") | {"finished_at": None, "cancel_requested": False}
        changes |= {"task_names": [*done, *todo], "position": len(done), "resumed_token": self.token}
        return bool(todo) and bool(stopped.update(**changes, available_at=Now()))
