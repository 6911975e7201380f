"""Run the tasks of a run: claim it, hold its lease, and execute them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from .. import signals
from ..discovery.registry import registry
from ..exceptions import ClaimLost
from ..models import FeatureRun
from .executor import RunExecutor
from .lease import Lease


def run(run_id: UUID, dispatch_no: int, *, worker: str) -> FeatureRun | None:
    """
    Claim the run that was enqueued under *dispatch_no* and execute it. Return it, or None if it cannot be claimed.

    Errors of tasks are recorded and logged, never raised. Errors of the database are raised, and the run stays
    claimed until its lease expires.
    """
    for alias in registry.databases():
        claimed = FeatureRun.objects.using(alias).claim(run_id, dispatch_no, worker=worker)
        if claimed:
            run_claimed(claimed)
            return claimed
    if not any(FeatureRun.objects.using(alias).filter(pk=run_id).exists() for alias in registry.databases()):
        signals.logger.warning(
            "run not found run=%s: it was deleted, or a site with another database uses the same queue of the same "
            "Redis; give each site a Redis database or queue names of its own",
            run_id,
        )
    return None


def claim_batch(run_ids: Sequence[UUID], dispatch_no: int, *, worker: str) -> list[FeatureRun]:
    """Claim several runs that were enqueued under *dispatch_no*. Return those that could be claimed."""
    runs: list[FeatureRun] = []
    for alias in registry.databases():
        if len(runs) < len(run_ids):
            runs += FeatureRun.objects.using(alias).claim_batch(run_ids, dispatch_no, worker=worker)
    return runs


def run_claimed(run: FeatureRun, *, lease: Callable[[FeatureRun], AbstractContextManager[Any]] = Lease) -> None:
    """Execute the tasks of a run that this process has claimed, and hold its *lease* meanwhile."""
    signals.run_started.send_robust(sender=FeatureRun, run=run)
    try:
        with lease(run):
            RunExecutor(run).execute()
    except ClaimLost as lost:
        signals.logger.warning("claim lost run=%s feature=%s: %s", run.pk, run.feature, lost)
