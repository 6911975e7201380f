"""The run row of a request: written inside the feature's transaction, or after a rollback as a log."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from ..broker.dispatch import enqueue
from ..context import Context, freeze
from ..db.lengths import MESSAGE_LENGTH, PATH_LENGTH, TRACEBACK_LENGTH, USER_LENGTH
from ..db.missing_tables import noting_missing_tables
from ..discovery.registry import Feature
from ..models import FeatureRun, RunState
from ..signals import logger, request_rolled_back
from ..text.redaction import plain, scrub

#: [{"number", "name", "ms", "error"?}]: what the run row keeps of the steps.
StepLog = list[dict[str, Any]]


def record(feature: Feature, ctx: Context, *, steps: StepLog, request: Mapping[str, Any]) -> FeatureRun:
    """
    Write the run row as the last statement of the open transaction on ``feature.using``, and return it.

    The caller calls :func:`enqueue_new_run` after COMMIT. *request* holds ``method``, ``path``, ``status_code`` and
    ``created_by``. Raise ContextError if a value of the context cannot be serialized.
    """
    return insert_run(feature, ctx, wait=feature.start_after, queue=feature.queue, steps=steps, **_clean(request))


def enqueue_new_run(feature: Feature, run: FeatureRun) -> None:
    """Enqueue a new run after its COMMIT, unless it waits for its start time."""
    if run.state == RunState.QUEUED:
        enqueue(run, timeout=feature.job_timeout)


def insert_run(feature: Feature, ctx: Context, *, wait: float, queue: str, **facts: Any) -> FeatureRun:
    """Insert the row of a new run of *feature*, which may start in *wait* seconds."""
    with noting_missing_tables(feature.using):
        return FeatureRun.objects.using(feature.using).create_run(
            wait=wait,
            id=ctx.run_id,
            feature=feature.label,
            queue=queue,
            context=freeze(ctx),
            task_names=feature.task_names,
            **facts,
        )


def record_rollback(
    feature: Feature, ctx: Context, *, steps: StepLog, error: str, traceback: str = "", request: Mapping[str, Any]
) -> FeatureRun | None:
    """
    Log a request that was rolled back, outside its transaction. If that fails too, log a warning and return None.

    The row is only for people to read and is never enqueued. It is lost if an outer ``atomic`` block rolls back.
    """
    try:
        with transaction.atomic(using=feature.using):
            run = FeatureRun.objects.using(feature.using).log_rollback(
                id=ctx.run_id,
                feature=feature.label,
                queue=feature.queue,
                task_names=feature.task_names,
                steps=[_scrubbed(entry) for entry in steps],
                reason=scrub(error, MESSAGE_LENGTH),
                traceback=scrub(traceback, TRACEBACK_LENGTH),
                **_clean(request),
            )
    except Exception as failure:  # noqa: BLE001 - any error: the client must see the request's own error
        logger.warning("rollback not logged run=%s feature=%s error=%r", ctx.run_id, feature.label, failure)
        return None
    request_rolled_back.send_robust(sender=FeatureRun, run=run)
    return run


def _clean(request: Mapping[str, Any]) -> dict[str, Any]:
    # A path or a user's key (perhaps an e-mail address) that is longer than its column must not fail the request
    lengths = {"path": PATH_LENGTH, "created_by": USER_LENGTH}
    return {**request} | {name: plain(request[name], length) for name, length in lengths.items()}


def _scrubbed(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"error": scrub(entry["error"], MESSAGE_LENGTH)} if "error" in entry else entry
