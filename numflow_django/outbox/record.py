"""Write the run row inside the feature's transaction, and enqueue the run after COMMIT."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils.timezone import is_naive, now

from ..broker.dispatch import ring
from ..conf import conf
from ..context import Context, Record, freeze
from ..db.ids import new_run_id
from ..db.lengths import MESSAGE_LENGTH, PATH_LENGTH, TRACEBACK_LENGTH, USER_LENGTH
from ..db.missing_tables import noting_missing_tables
from ..discovery.policy import seconds_of
from ..discovery.registry import Feature, registry
from ..exceptions import UnknownFeature
from ..models import FeatureRun, RunState
from ..signals import logger, request_rolled_back
from ..text.redaction import plain, scrub

#: [{"number", "name", "ms", "error"?}]: what the run row keeps of the steps.
StepLog = list[dict[str, Any]]


def record(feature: Feature, ctx: Context, *, steps: StepLog, request: Mapping[str, Any]) -> FeatureRun:
    """
    Write the run row as the last statement of the open transaction on ``feature.using``, and return it.

    The caller calls :func:`dispatch` after COMMIT. *request* holds ``method``, ``path``, ``status_code`` and
    ``created_by``. Raise ContextError if a value of the context cannot be serialized.
    """
    return _open(feature, ctx, wait=feature.start_after, queue=feature.queue, steps=steps, **_clean(request))


def start_run(
    label: str,
    values: Mapping[str, Any] | None = None,
    *,
    start_after: float | timedelta | datetime = 0,
    queue: str | None = None,
) -> FeatureRun:
    """
    Start the async tasks of the feature *label* without a request, with the same guarantees. Return the run.

    *values* become its context. *start_after* is a wait in seconds, a timedelta, or an aware datetime. *queue* replaces
    the feature's own queue. Inside a transaction, the run exists only if the transaction commits.

    Raise UnknownFeature if there is no such feature or it has no async tasks, ValueError for an invalid *start_after*
    or *queue*, and ContextError if a value cannot be serialized.
    """
    feature = registry.find(label)
    if feature is None or not feature.tasks:
        raise UnknownFeature(_no_tasks(label, feature))
    if queue is not None and queue not in conf.queues:
        raise ValueError(f"start_run(queue={queue!r}): RQ_QUEUES has {', '.join(sorted(conf.queues)) or 'no queue'}")
    wait = max(_seconds_until(start_after), feature.start_after)
    ctx = Context(Record(new_run_id()))
    ctx._numflow.author = f"start_run({label!r})"
    for key, value in (values or {}).items():
        ctx[key] = value
    with transaction.atomic(using=feature.using):
        run = _open(feature, ctx, wait=wait, queue=queue or feature.queue, steps=[])
        transaction.on_commit(partial(dispatch, feature, run), using=feature.using, robust=True)
    return run


def dispatch(feature: Feature, run: FeatureRun) -> None:
    """Enqueue a new run unless it waits. If Redis cannot be reached, set it to pending for the relay."""
    if run.state != RunState.QUEUED:
        return
    rung = ring(
        run_id=run.pk, dispatch_no=run.dispatch_no, queue=run.queue, timeout=feature.job_timeout, feature=run.feature
    )
    if not rung:
        run.undispatch()


def _open(feature: Feature, ctx: Context, *, wait: float, queue: str, **facts: Any) -> FeatureRun:
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


def _no_tasks(label: str, feature: Feature | None) -> str:
    if feature is not None:
        return f"start_run({label!r}): the feature has no async tasks; add async_tasks/100_<name>.py to its folder"
    return f"start_run({label!r}): there is no such feature; {registry.hint_for(label)}"


def _seconds_until(start: float | timedelta | datetime) -> float:
    if not isinstance(start, datetime):
        return seconds_of(start, "start_run(start_after")
    if is_naive(start):
        raise ValueError(f"start_run(start_after={start!r}): give an aware datetime, with its time zone")
    return seconds_of(max(timedelta(0), start - now()), "start_run(start_after")


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
