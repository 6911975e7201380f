"""The task log: one row for each execution of each async task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..db.lengths import TASK_LENGTH, WORKER_LENGTH
from ..db.timestamps import TimestampField
from .run import FeatureRun
from .states import ExecutionState

if TYPE_CHECKING:
    from datetime import datetime, timedelta


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
