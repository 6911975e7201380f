"""Start the async tasks of a feature without a request."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils.timezone import is_naive, now

from ..conf import conf
from ..context import Context, Record
from ..db.ids import new_run_id
from ..discovery.policy import seconds_of
from ..discovery.registry import Feature, registry
from ..exceptions import UnknownFeature
from ..models import FeatureRun
from .record import enqueue_new_run, insert_run


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
        run = insert_run(feature, ctx, wait=wait, queue=queue or feature.queue, steps=[])
        transaction.on_commit(partial(enqueue_new_run, feature, run), using=feature.using, robust=True)
    return run


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
