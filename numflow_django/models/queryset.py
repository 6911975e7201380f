"""Queries for runs: insert one, claim some, and find those that are due, queued or expired."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from ..db import statements
from ..db.ids import new_run_id
from ..db.timestamps import Now
from .clock import NOW, lease_end
from .states import RunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .run import FeatureRun

#: The reason of a run that was claimed in a batch, until its first checkpoint.
CLAIMED_IN_BATCH = "claimed in a batch"

# Made once, because a statement is looked up by its expressions
_NEXT_TOKEN = F("token") + 1
_FIRST_START = Coalesce("started_at", NOW)


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

    def _claim(self, worker: str, extra: dict[str, Any] | None = None, **guard: Any) -> list[FeatureRun]:
        changes = {
            "state": RunState.RUNNING,
            "token": _NEXT_TOKEN,
            "claim_id": uuid4(),
            "lease_expires_at": lease_end(),
            "started_at": _FIRST_START,
            "worker": worker,
        }
        self._for_write = True  # a router may send reads to another database
        guard["state"] = (RunState.QUEUED, RunState.PENDING)
        runs = statements.claim(self, guard, changes | (extra or {}))
        for run in runs:
            run.held_at = monotonic()
        return runs

    def create_run(self, *, wait: float, **facts: Any) -> FeatureRun:
        """Insert a run that may begin in *wait* seconds, and return it. With 0 the caller must enqueue it now."""
        if wait:
            return self.create(
                state=RunState.WAITING, available_at=Now(wait), reason="waiting for its start time", **facts
            )
        # Insert it as queued: it is enqueued right after COMMIT, before which no other process sees the row. So a
        # request costs one INSERT, and the row becomes pending only if the run cannot be enqueued
        self._for_write = True
        queued = {"state": RunState.QUEUED, "dispatch_no": 1, "queued_at": NOW}
        return statements.insert(self, {"id": new_run_id()} | facts | queued)

    def log_rollback(self, **facts: Any) -> FeatureRun:
        """Insert the log of a request that was rolled back, and return it. It is never enqueued."""
        return self.create(state=RunState.ROLLED_BACK, finished_at=Now(), **facts)

    def due(self, state: RunState | None = None) -> Self:
        """Return the runs, of one *state* or all, that are not enqueued and may run now."""
        states = (RunState.PENDING, RunState.WAITING) if state is None else (state,)
        return self.filter(state__in=states, available_at__lte=Now())

    def after(self, column: str, value: Any, pk: UUID) -> Self:
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
