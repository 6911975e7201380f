"""Queues that no worker serves: the relay warns of them."""

from collections.abc import Iterator
from time import monotonic

from ..broker import marks, workers
from ..db.timestamps import Now
from ..discovery.registry import registry
from ..models import NOW, FeatureRun, FeatureRunQuerySet, RunState
from ..signals import logger

#: Seconds that a run is queued before the relay warns that its queue has no worker, and between two such warnings.
UNSERVED_SECONDS = 60.0

#: The most runs of a queue that one warning counts.
COUNTED = 1_000


class UnservedQueues:
    """Warn of queues with long-queued runs and no worker: once a minute, from one process only."""

    def __init__(self) -> None:
        self._last_looks: dict[str, float] = {}  # by queue: when its workers were last counted, in monotonic seconds

    def warn(self, queue: str) -> None:
        """Log a warning if runs wait for a worker of *queue* and it has none."""
        if not self._is_due(queue):
            return
        if marks.take_turn(queue, UNSERVED_SECONDS, key=marks.WARNED) and workers.worker_count(queue) == 0:
            _warn_if_runs_wait(queue)

    def _is_due(self, queue: str) -> bool:
        now = monotonic()
        if now - self._last_looks.get(queue, -UNSERVED_SECONDS) < UNSERVED_SECONDS:
            return False
        self._last_looks[queue] = now
        return True


def _warn_if_runs_wait(queue: str) -> None:
    databases = [FeatureRun.objects.using(alias) for alias in registry.databases()]
    # A running run proves that there is a worker: RQ's own worker does not register again after a flush
    if any(runs.filter(state=RunState.RUNNING, queue=queue).exists() for runs in databases):
        return
    waits = [wait for runs in databases for wait in _long_waits(runs, queue)]
    if waits:
        logger.warning(
            "queue not served queue=%s runs=%s%s waited=%.0fs: no worker is registered for it; start %s",
            queue,
            len(waits),
            "+" if len(waits) >= COUNTED else "",
            max(waits),
            workers.worker_command(queue),
        )


def _long_waits(runs: FeatureRunQuerySet, queue: str) -> Iterator[float]:
    """Yield the seconds for which each long-queued run of *queue* has been due, by the database's clock."""
    long_queued = runs.queued(queue).filter(queued_at__lt=Now(-UNSERVED_SECONDS)).order_by("available_at")
    for due, now in long_queued.values_list("available_at", NOW)[:COUNTED]:
        yield (now - due).total_seconds()
