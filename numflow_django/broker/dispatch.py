"""Enqueue a run. If Redis fails, the run is pending and the relay enqueues it later."""

from redis.exceptions import ConnectionError as RedisConnectionError

from ..embedded import broker_hint
from ..models import FeatureRun
from ..signals import dispatch_failed
from .pauses import note_failure, refuse_if_paused
from .push import push


def enqueue(run: FeatureRun, *, timeout: int) -> bool:
    """
    Enqueue a queued run. Return whether its job is in Redis now; if it is not, set the run to pending.

    A failure of Redis is logged and sent as ``dispatch_failed``, and never raised; an error of the database is raised.
    *timeout* is RQ's limit for the whole run, in seconds.
    """
    is_enqueued = _try_push(run, timeout)
    if not is_enqueued:
        run.undispatch()
    return is_enqueued


def _try_push(run: FeatureRun, timeout: int) -> bool:
    """Put the job of *run* into Redis. Return whether that worked; announce a failure."""
    try:
        refuse_if_paused(run.queue)
        push(run, timeout=timeout)
    except Exception as error:  # noqa: BLE001 - a missing queue or Redis must not change the response
        note_failure(run.queue, error)
        hint = broker_hint(error) if isinstance(error, RedisConnectionError) else ""
        dispatch_failed.send_robust(sender=FeatureRun, run_id=run.pk, feature=run.feature, error=error, hint=hint)
        return False
    return True
