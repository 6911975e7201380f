"""
The two tables, and every transition of a run.

A FeatureRun is the outbox row and the only thing that changes; a TaskExecution is written once. A transition is one
guarded UPDATE: a row count of 0 means that somebody else was first. All comparisons of time are made with the
database's own clock, because the clocks of web and worker hosts differ.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from .conf import conf
from .exceptions import ClaimLost
from .ids import new_run_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

#: Characters kept of a path or a reason; what is longer than an address bar shows helps nobody.
PATH_LENGTH = 500
#: Characters kept of an error's message.
MESSAGE_LENGTH = 2_000
#: Characters kept of a traceback.
TRACEBACK_LENGTH = 20_000


class RunState(models.TextChoices):
    """Where a run is in its life."""

    PENDING = "pending", _("pending")
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    ROLLED_BACK = "rolled_back", _("rolled back")


class FeatureRunQuerySet(models.QuerySet["FeatureRun"]):
    """Runs, in the domain's words."""

    def claim(self, run_id: UUID, dispatch_no: int, *, worker: str) -> FeatureRun | None:
        """Take a run that the doorbell *dispatch_no* announces; None if it is not to be had (any more)."""
        claim_id = uuid4()
        announced = self.filter(pk=run_id, dispatch_no=dispatch_no, state__in=(RunState.QUEUED, RunState.PENDING))
        claimed = announced.update(
            state=RunState.RUNNING,
            token=F("token") + 1,
            claim_id=claim_id,
            lease_expires_at=Now() + timedelta(seconds=conf.LEASE_SECONDS),
            started_at=Coalesce("started_at", Now()),
            worker=worker,
            reason="",
        )
        return self.get(pk=run_id, claim_id=claim_id) if claimed else None

    def undispatched(self, run_id: UUID, dispatch_no: int) -> bool:
        """Say that the doorbell *dispatch_no* never rang: queued -> pending."""
        queued = self.filter(pk=run_id, dispatch_no=dispatch_no, state=RunState.QUEUED)
        return bool(queued.update(state=RunState.PENDING, queued_at=None))


class FeatureRun(models.Model):
    """One passage of a feature: its steps, its context, its async tasks. The row is the outbox and the truth."""

    id = models.UUIDField(_("ID"), primary_key=True, default=new_run_id, editable=False)
    feature = models.CharField(_("feature"), max_length=200)
    queue = models.CharField(_("queue"), max_length=100)
    state = models.CharField(_("state"), max_length=12, choices=RunState.choices)
    context = models.TextField(_("context"), default="{}")  # tagged JSON as text: jsonb knows no NUL and no big float
    task_names = models.JSONField(_("async tasks"), default=list)
    position = models.PositiveIntegerField(_("position"), default=0)  # the tasks before it are settled
    token = models.PositiveIntegerField(_("claims"), default=0)
    claim_id = models.UUIDField(_("claim ID"), null=True)
    dispatch_no = models.PositiveIntegerField(_("dispatches"), default=0)
    available_at = models.DateTimeField(_("available at"), db_default=Now())
    queued_at = models.DateTimeField(_("queued at"), null=True)
    lease_expires_at = models.DateTimeField(_("lease expires at"), null=True)
    worker = models.CharField(_("worker"), max_length=200, blank=True)
    cancel_requested = models.BooleanField(_("cancel requested"), default=False)
    reason = models.TextField(_("reason"), blank=True)
    steps = models.JSONField(_("steps"), default=list)  # [{"number", "name", "ms", "error"?}]
    method = models.CharField(_("method"), max_length=10, blank=True)
    path = models.CharField(_("path"), max_length=PATH_LENGTH, blank=True)
    status_code = models.PositiveSmallIntegerField(_("status code"), null=True)
    created_by = models.CharField(_("created by"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    objects = FeatureRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        indexes = [
            models.Index(fields=["state", "available_at"], name="numflow_run_due"),
            models.Index(fields=["state", "lease_expires_at"], name="numflow_run_lease"),
            models.Index(fields=["created_at"], name="numflow_run_created"),
            models.Index(fields=["feature", "created_at"], name="numflow_run_feature"),
        ]

    def __str__(self) -> str:
        return f"{self.feature} {self.pk}"

    def checkpoint(
        self,
        executions: Sequence[TaskExecution],
        *,
        context: str | None = None,
        end: RunState | None = None,
        reason: str = "",
    ) -> dict[str, Any]:
        """
        Write *executions* and move the row on past them, in one transaction; with *end*, the run ends in that state.

        Give the changes of the row, for :meth:`remember` once they are committed. Raise ClaimLost, and write nothing,
        if the claim is not ours any more.
        """
        changes: dict[str, Any] = {"position": self.position + len(executions)}
        if context is not None:
            changes["context"] = context
        if end is not None:
            changes |= {"state": end, "reason": reason, "finished_at": Now(), "lease_expires_at": None}
        with transaction.atomic(using=self._state.db):
            self._advance(changes)
            TaskExecution.objects.using(self._state.db).bulk_create(executions)
        return changes

    def remember(self, changes: dict[str, Any]) -> None:
        """Take over what :meth:`checkpoint` wrote."""
        for name, value in changes.items():
            if not isinstance(value, Now):
                setattr(self, name, value)

    def release(self, reason: str) -> None:
        """Give the run back unfinished, for another worker: running -> pending. Raise ClaimLost if it is not ours."""
        changes = {"state": RunState.PENDING, "reason": reason, "lease_expires_at": None, "queued_at": None}
        self._advance(changes)
        self.remember(changes)

    def _advance(self, changes: dict[str, Any]) -> None:
        mine = FeatureRun.objects.using(self._state.db).filter(
            pk=self.pk, state=RunState.RUNNING, claim_id=self.claim_id
        )
        if not mine.update(**changes):
            raise ClaimLost(f"run {self.pk}: somebody else has taken it over; this worker stops and writes nothing")


class ExecutionState(models.TextChoices):
    """How one try of a task ended."""

    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    LOST = "lost", _("lost")
    SKIPPED = "skipped", _("skipped")


class TaskExecution(models.Model):
    """One try of one async task; the table is the task log. Written once, never changed."""

    run = models.ForeignKey(FeatureRun, models.CASCADE, related_name="executions", verbose_name=_("run"))
    name = models.CharField(_("async task"), max_length=200)
    position = models.PositiveIntegerField(_("position"))
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    token = models.PositiveIntegerField(_("claim"))
    state = models.CharField(_("state"), max_length=12, choices=ExecutionState.choices)
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    worker = models.CharField(_("worker"), max_length=200, blank=True)
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
        """How long it ran; None if it never did."""
        started: datetime | None = self.started_at
        return self.finished_at - started if started and self.finished_at else None
