"""The run row, written inside the feature's transaction, and its dispatch after COMMIT."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from .context import Context, freeze
from .dispatch import ring
from .models import MESSAGE_LENGTH, PATH_LENGTH, FeatureRun, RunState
from .redaction import plain, scrub
from .registry import Feature
from .signals import logger, request_rolled_back
from .steps import StepLog

#: Characters kept of a user's key: as many as the column has.
USER_LENGTH = 200


def record(feature: Feature, ctx: Context, *, steps: StepLog, request: Mapping[str, Any]) -> FeatureRun:
    """
    Write the run row: the last statement of the transaction that is open on ``feature.using``.

    After COMMIT, :func:`dispatch` is to be called. *request* holds ``method``, ``path``, ``status_code`` and
    ``created_by``. Raise ContextError if the context cannot travel.
    """
    return FeatureRun.objects.using(feature.using).create(
        id=ctx.run_id,
        feature=feature.label,
        queue=feature.queue,
        # Born queued: the row is seen only after COMMIT, and the doorbell is the next thing that happens. A request
        # then costs one INSERT; a doorbell that fails turns the row to pending
        state=RunState.QUEUED,
        dispatch_no=1,
        queued_at=Now(),
        context=freeze(ctx),
        task_names=feature.task_names,
        steps=steps,
        **_clean(request),
    )


def dispatch(feature: Feature, run_id: UUID) -> None:
    """Ring for a new run; if Redis cannot be reached, the run is pending and the relay's."""
    rung = ring(run_id=run_id, dispatch_no=1, queue=feature.queue, timeout=feature.job_timeout, feature=feature.label)
    if not rung:
        FeatureRun.objects.using(feature.using).undispatched(run_id, 1)


def record_rollback(
    feature: Feature, ctx: Context, *, steps: StepLog, error: str, request: Mapping[str, Any]
) -> FeatureRun | None:
    """
    Log a request that was rolled back, outside its transaction; None, and a warning, if that fails too.

    The row is for people only and is never dispatched. Inside an outer ``atomic`` block it lives as long as that.
    """
    try:
        with transaction.atomic(using=feature.using):
            run = FeatureRun.objects.using(feature.using).create(
                id=ctx.run_id,
                feature=feature.label,
                queue=feature.queue,
                state=RunState.ROLLED_BACK,
                task_names=feature.task_names,
                steps=[_scrubbed(entry) for entry in steps],
                reason=scrub(error, MESSAGE_LENGTH),
                finished_at=Now(),
                **_clean(request),
            )
    except Exception as failure:  # noqa: BLE001 - whatever it is, the request's own error is the one to be seen
        logger.warning("rollback not logged run=%s feature=%s error=%r", ctx.run_id, feature.label, failure)
        return None
    request_rolled_back.send_robust(sender=FeatureRun, run=run)
    return run


def _clean(request: Mapping[str, Any]) -> dict[str, Any]:
    # Nor may a user whose key is longer than the column (it may be an e-mail address) fail the request
    lengths = {"path": PATH_LENGTH, "created_by": USER_LENGTH}
    return {**request} | {name: plain(request[name], length) for name, length in lengths.items()}


def _scrubbed(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"error": scrub(entry["error"], MESSAGE_LENGTH)} if "error" in entry else entry
