"""
The two tables, and every transition of a run.

A FeatureRun is the outbox row and the only thing that changes; a TaskExecution is written once. A transition is one
guarded UPDATE: a row count of 0 means that somebody else was first. All comparisons of time are made with the
database's own clock, because the clocks of web and worker hosts differ.
"""

from __future__ import annotations

from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from .conf import conf
from .db import statements
from .db.ids import new_run_id
from .db.lengths import LABEL_LENGTH, PATH_LENGTH, QUEUE_LENGTH, TASK_LENGTH, USER_LENGTH, WORKER_LENGTH
from .db.timestamps import Now, TimestampField
from .exceptions import ClaimLost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

#: The reason of a run that was claimed together with others, until its first checkpoint.
AHEAD = "claimed ahead"

#: A checkpoint renews a lease of which this fraction has passed.
FRESH = 8

#: The reason of a run whose wait was ended; its next task does not ask again whether its hour has come.
WAIT_SKIPPED = "its wait was ended"


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


#: The database's own clock.
NOW = Now()

#: What a claim makes of two columns.
ONE_MORE, STARTED = F("token") + 1, Coalesce("started_at", NOW)

#: States in which a run may still be claimed or dispatched.
OPEN = (RunState.PENDING, RunState.QUEUED, RunState.WAITING)
#: States that a run leaves only by being resumed.
ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class FeatureRunQuerySet(models.QuerySet["FeatureRun"]):
    """Runs, in the domain's words."""

    def claim(self, run_id: UUID, dispatch_no: int, *, worker: str) -> FeatureRun | None:
        """Take a run that the doorbell *dispatch_no* announces; None if it is not to be had (any more)."""
        return next(iter(self._claim(worker, id=run_id, dispatch_no=dispatch_no)), None)

    def claim_ahead(self, run_ids: Sequence[UUID], dispatch_no: int, *, worker: str) -> list[FeatureRun]:
        """
        Take those of several runs that nobody has had before.

        They bear the reason AHEAD until their first checkpoint: should their worker die before it has begun them, the
        crash is none of theirs. A run that has been claimed before might be what kills workers, and is not taken here.
        """
        return self._claim(worker, {"reason": AHEAD}, id=tuple(run_ids), dispatch_no=dispatch_no, token=0)

    def _claim(self, worker: str, more: dict[str, Any] | None = None, **guard: Any) -> list[FeatureRun]:
        changes = {
            "state": RunState.RUNNING,
            "token": ONE_MORE,
            "claim_id": uuid4(),
            "lease_expires_at": _lease_end(),
            "started_at": STARTED,
            "worker": worker,
        }
        self._for_write = True  # a router may have another database for reads
        announced = guard | {"state": (RunState.QUEUED, RunState.PENDING)}
        runs = statements.claim(self, announced, changes | (more or {}))
        for run in runs:
            run.held_at = monotonic()
        return runs

    def open(self, *, wait: float, **facts: Any) -> FeatureRun:
        """Write a new run that may begin in *wait* seconds; without a wait its doorbell is about to ring."""
        if wait:
            return self.create(state=RunState.WAITING, available_at=Now(wait), reason="not before its time", **facts)
        # Born queued: the row is seen only after COMMIT, and the doorbell is the next thing that happens. A request
        # then costs one INSERT; a doorbell that fails turns the row to pending
        self._for_write = True
        born = {"state": RunState.QUEUED, "dispatch_no": 1, "queued_at": NOW}
        return statements.insert(self, {"id": new_run_id()} | facts | born)

    def log_rollback(self, **facts: Any) -> FeatureRun:
        """Write the log of a request that was rolled back; never dispatched."""
        return self.create(state=RunState.ROLLED_BACK, finished_at=Now(), **facts)

    def due(self, state: RunState | None = None) -> Self:
        """Runs, all or those of one *state*, that nobody has dispatched and that may run now."""
        states = (RunState.PENDING, RunState.WAITING) if state is None else (state,)
        return self.filter(state__in=states, available_at__lte=Now())

    def beyond(self, column: str, value: Any, pk: UUID) -> Self:
        """Those after a row with this *value* and key, in the order of *column* and the key."""
        same = Q((column, value), pk__gt=pk)
        # The first condition says nothing new, but tells the database where in its index to begin
        return self.filter(Q((f"{column}__gte", value)), same | Q((f"{column}__gt", value)))

    def expired(self) -> Self:
        """Runs whose holder has not renewed its lease: it is dead, or as good as dead."""
        return self.filter(state=RunState.RUNNING, lease_expires_at__lt=Now())

    def queued(self, queue: str | None = None, *, since: float | None = None) -> Self:
        """Runs that are said to be in Redis, in *queue* if one is given, and for at most *since* seconds."""
        runs = self.filter(state=RunState.QUEUED)
        if queue is not None:
            runs = runs.filter(queue=queue)
        return runs if since is None else runs.filter(queued_at__gt=Now(-since))

    def unlocked(self) -> Self:
        """
        Lock these, in the transaction that is open, except those that another transaction has locked.

        A holder that sleeps in its checkpoint has, and so has one whose machine is gone, until the server notices;
        the relay, and with it all other runs, must not wait for them.
        """
        if not connections[self.db].features.has_select_for_update_skip_locked:
            return self
        return self.filter(pk__in=list(self.select_for_update(skip_locked=True).values_list("pk", flat=True)))

    def held_by(self, worker: str) -> Self:
        """The runs that *worker* has claimed."""
        return self.filter(state=RunState.RUNNING, worker=worker)


class FeatureRun(models.Model):
    """One passage of a feature: its steps, its context, its async tasks. The row is the outbox and the truth."""

    id = models.UUIDField(_("ID"), primary_key=True, default=new_run_id, editable=False)
    feature = models.CharField(_("feature"), max_length=LABEL_LENGTH)
    queue = models.CharField(_("queue"), max_length=QUEUE_LENGTH)
    state = models.CharField(_("state"), max_length=12, choices=RunState.choices)
    context = models.TextField(_("context"), default="{}")  # tagged JSON as text: jsonb knows no NUL and no big float
    task_names = models.JSONField(_("async tasks"), default=list)
    position = models.PositiveIntegerField(_("position"), default=0)  # the tasks before it are settled
    token = models.PositiveIntegerField(_("claims"), default=0)
    resumed_token = models.PositiveIntegerField(
        _("claims before it was resumed"), default=0
    )  # their tries are forgiven
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
    traceback = models.TextField(_("traceback"), blank=True, db_default="")  # of what rolled the request back
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
        """The executions so far, from the run's own database: a router may send reads to a replica that lags."""
        return TaskExecution.objects.using(self._state.db).filter(run_id=self.pk).order_by("id")

    def reread(self) -> None:
        """Read the row again, from its own database."""
        self.refresh_from_db(using=self._state.db)

    # The holder's transitions: guarded by its claim, and ClaimLost is raised where that is outdated

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

        A run whose cancellation was asked for ends here. Give the changes of the row, for :meth:`remember` once they
        are committed.
        """
        changes: dict[str, Any] = {"position": self.position + len(executions), "reason": reason}
        if monotonic() - self.held_at > conf.LEASE_SECONDS / FRESH:
            # A task that held SQLite's one write lock has kept the lease from being renewed. Not each time: the column
            # has an index
            changes["lease_expires_at"] = _lease_end()
        if context is not None:
            changes["context"] = context
        if end is not None:
            changes |= _ended(end)
        return self._advance(changes, executions)

    def postpone(
        self, executions: Sequence[TaskExecution], *, seconds: float, reason: str, context: str | None = None
    ) -> dict[str, Any]:
        """Put the run off for *seconds*, its task unsettled: running -> waiting. Give the changes."""
        changes = _given_up(RunState.WAITING, reason) | {"available_at": Now(seconds)}
        if context is not None:
            changes["context"] = context
        return self._advance(changes, executions)

    def release(self, reason: str) -> dict[str, Any]:
        """Give the run back unfinished, for another worker: running -> pending. Give the changes."""
        return self._advance(_given_up(RunState.PENDING, reason) | {"available_at": Now()}, [])

    def fail(self, reason: str) -> dict[str, Any]:
        """End the run with its tasks unsettled: running -> failed. Give the changes."""
        return self._advance(_ended(RunState.FAILED) | {"reason": reason}, [])

    def renew_lease(self) -> bool:
        """Hold the run for another lease; give whether it is still ours."""
        is_ours = bool(self._mine().update(lease_expires_at=_lease_end()))
        if is_ours:
            self.held_at = monotonic()
        return is_ours

    def remember(self, changes: dict[str, Any]) -> None:
        """Take over what a transition wrote."""
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
                return changes  # by our own COMMIT, of which a broken connection had left us in doubt
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

    # Everybody else's transitions

    def lose(
        self, executions: Sequence[TaskExecution], *, settled: int, end: RunState | None, reason: str, expired: bool
    ) -> bool:
        """
        Record that the holder died: running -> pending, or to *end*. Give False if another was first.

        *settled* of the tasks are given up for good. With *expired*, a holder that has renewed its lease is alive. A
        run whose cancellation was asked for ends here.
        """
        changes = _ended(end) if end else _given_up(RunState.PENDING, reason) | {"available_at": Now()}
        changes |= {"position": self.position + settled, "reason": reason}
        with transaction.atomic(using=self._state.db):
            held = self._mine().filter(position=self.position)
            held = held.expired().unlocked() if expired else held
            lost = (held if end else held.filter(cancel_requested=False)).update(**changes)
            lost = lost or held.filter(cancel_requested=True).update(**changes | _cancelled())
            if lost:
                TaskExecution.objects.using(self._state.db).bulk_create(executions)
        return bool(lost)

    def begin_dispatch(self) -> bool:
        """Say that a new doorbell is about to ring: pending or waiting -> queued; *dispatch_no* is its number."""
        due = FeatureRun.objects.using(self._state.db).due().filter(pk=self.pk, dispatch_no=self.dispatch_no)
        self.dispatch_no += 1
        return bool(due.update(state=RunState.QUEUED, dispatch_no=self.dispatch_no, queued_at=Now()))

    def undispatch(self) -> bool:
        """Say that the doorbell never rang, or that Redis lost it: queued -> pending."""
        queued = FeatureRun.objects.using(self._state.db).filter(
            pk=self.pk, dispatch_no=self.dispatch_no, state=RunState.QUEUED
        )
        changes = {"state": RunState.PENDING, "queued_at": None}
        done = bool(queued.update(**changes))
        if done:
            self.remember(changes)
        return done

    def skip_wait(self) -> bool:
        """End the wait for a retry or for a task's hour: waiting -> pending. Give False if the run does not wait."""
        mine = FeatureRun.objects.using(self._state.db).filter(pk=self.pk, state=RunState.WAITING)
        return bool(mine.update(state=RunState.PENDING, available_at=Now(), reason=WAIT_SKIPPED))

    def cancel(self) -> bool:
        """
        Run no further task: at once, or, while a worker has the run, after the task that is running.

        Give False if the run has ended already.
        """
        mine = FeatureRun.objects.using(self._state.db).filter(pk=self.pk)
        # Asked for first: whoever claims the run or gives it back between these two finds the wish
        asked = mine.filter(state__in=(*OPEN, RunState.RUNNING)).update(cancel_requested=True)
        mine.filter(state__in=OPEN).update(**_ended(RunState.CANCELLED), reason="cancelled")
        return bool(asked)

    def unsettled(self, *, only_failed: bool = False) -> list[str]:
        """The names of the tasks that have not succeeded, or *only* of those that *failed*, in their order."""
        states = dict(self.log.values_list("name", "state"))
        again = (ExecutionState.FAILED, ExecutionState.LOST)
        return [
            name
            for name in self.task_names
            if (states.get(name) in again if only_failed else states.get(name) != ExecutionState.SUCCEEDED)
        ]

    def resume(self, *, only_failed: bool = False) -> bool:
        """
        Run again the tasks that have not succeeded, or *only* those that *failed*, with the context as it stands.

        For a failed or cancelled run; give False for any other. The tasks that are to run move behind the others, and
        what they have failed and crashed so far no longer counts for ``max_attempts`` and ``TASK_MAX_CRASHES``.
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
    # Kept: a statement is looked up by its expressions
    return Now(seconds)


def _ended(state: RunState) -> dict[str, Any]:
    return {"state": state, "finished_at": NOW, "lease_expires_at": None}


def _cancelled() -> dict[str, Any]:
    return _ended(RunState.CANCELLED) | {"reason": "cancelled between two tasks"}


def _given_up(state: RunState, reason: str) -> dict[str, Any]:
    return {"state": state, "reason": reason, "lease_expires_at": None, "queued_at": None}


class ExecutionState(models.TextChoices):
    """How one try of a task ended."""

    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    LOST = "lost", _("lost")
    SKIPPED = "skipped", _("skipped")


class TaskExecution(models.Model):
    """One try of one async task; the table is the task log. Written once, never changed."""

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
        """How long it ran; None if it never did."""
        started: datetime | None = self.started_at
        return self.finished_at - started if started and self.finished_at else None
