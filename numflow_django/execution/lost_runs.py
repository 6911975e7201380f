"""Release the runs that a dead work-horse has left."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from uuid import UUID

from ..db.connections import close_connections
from ..discovery.registry import registry
from ..exceptions import ClaimLost
from ..models import FeatureRun, FeatureRunQuerySet
from ..signals import logger
from .recovery import record_loss

#: How often the loss of a run is tried to be recorded: the last COMMIT of the dead work-horse may still be running.
TRIES = 3


def release_lost_runs(worker: str, *, begun: Collection[UUID], taken: Sequence[tuple[UUID, int]], message: str) -> bool:
    """
    Release at once the runs of a dead work-horse of *worker*, instead of waiting until their leases expire.

    *begun* has the id of the run that it was executing, if any; *taken* are the run ids and dispatch numbers of all
    jobs that it took from the queue. Return whether a loss was recorded, so that a run can be enqueued again now.
    """
    is_recorded = False
    try:
        for alias in registry.databases():
            runs = FeatureRun.objects.using(alias)
            held = runs.held_by(worker)
            is_recorded |= _record(held.filter(pk__in=begun), message) if begun else False
            _release_not_begun(held.exclude(pk__in=begun), message)
            _undispatch(runs, taken)
    except Exception:  # noqa: BLE001 - a database that is down must not end the worker
        logger.exception(
            "loss not recorded worker=%s; the relay will recover the runs when their leases expire", worker
        )
    finally:
        close_connections()
    return is_recorded


def _record(begun: FeatureRunQuerySet, message: str) -> bool:
    """Record the loss of the run that had begun. Return whether there was one."""
    for _ in range(TRIES):
        run = begun.first()
        if run is None or record_loss(run, message, only_if_expired=False):
            return run is not None
    return False


def _release_not_begun(claimed: FeatureRunQuerySet, message: str) -> None:
    for run in claimed:
        with suppress(ClaimLost):
            run.release(f"claimed in a batch and not begun; {message}")


def _undispatch(runs: FeatureRunQuerySet, taken: Sequence[tuple[UUID, int]]) -> None:
    """Set runs to pending whose jobs were taken and not claimed. Enqueuing them here could loop; the relay does it."""
    for run_id, dispatch_no in taken:
        for run in runs.queued().filter(pk=run_id, dispatch_no=dispatch_no):
            run.undispatch()
