"""Claim several runs at once and release those that the work-horse does not begin in time."""

from collections.abc import Sequence
from threading import Timer
from types import TracebackType
from typing import Self
from uuid import UUID

from django.db import Error

from ..db.connections import close_connections
from ..models import FeatureRun
from ..signals import logger
from . import relay, runner
from .lease import Lease

#: Seconds after which runs that have not begun are released to other workers.
PATIENCE = 1.0


class BatchClaim:
    """Claim several runs together and hold the leases of those that have not begun."""

    def __init__(self, announced_jobs: Sequence[tuple[UUID, int]], *, worker: str) -> None:
        # Nearly all jobs have the same dispatch number, because most runs are enqueued only once
        number = announced_jobs[0][1]
        run_ids = [run_id for run_id, other in announced_jobs if other == number]
        runs = runner.claim_batch(run_ids, number, worker=worker) if run_ids[1:] else []
        self.claimed = {run.pk for run in runs}
        self._left = {run.pk: run for run in runs}
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        Lease.keeper().held.update(self._left)
        if self._left:
            self._timer = Timer(PATIENCE, self._release_late)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._timer:
            self._timer.cancel()
        self.release_rest()

    def take(self, run_id: UUID) -> FeatureRun | None:
        """Return the claimed run so that it can begin, or None if it was released."""
        return self._left.pop(run_id, None)

    def release_rest(self) -> None:
        """Release the runs that are left and enqueue them again for other workers."""
        while self._left:
            run_id, run = self._left.popitem()
            try:
                run.remember(run.release("given back: its worker has enough to do"))
                relay.dispatch_due(run)
            except Error as error:
                logger.warning("run not given back run=%s error=%r; its lease will end", run_id, error)
            Lease.keeper().held.pop(run_id, None)

    def _release_late(self) -> None:
        try:
            self.release_rest()
        finally:
            close_connections()  # those of the timer's thread
