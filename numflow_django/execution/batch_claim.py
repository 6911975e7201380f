"""Claim several runs at once and release those that the work-horse does not begin in time."""

from collections.abc import Sequence
from threading import Timer
from types import TracebackType
from typing import Self
from uuid import UUID

from django.db import Error

from ..db.connections import close_connections
from ..exceptions import ClaimLost
from ..models import FeatureRun
from ..signals import logger
from . import relay, runner
from .lease_renewal import LeaseRenewer

#: Seconds after which runs that have not begun are released to other workers. It is longer than a full batch of quick
#: runs takes, and it is the longest time that a run waits for another run although a worker is idle.
RELEASE_AFTER_SECONDS = 1.0


class BatchClaim:
    """
    Claim several runs together and hold the leases of those that have not begun.

    *dispatches* are run ids and dispatch numbers. A test may pass a *renewer* of its own.
    """

    def __init__(
        self, dispatches: Sequence[tuple[UUID, int]], *, worker: str, renewer: LeaseRenewer | None = None
    ) -> None:
        self._renewer = renewer or LeaseRenewer.of_process()
        # Only the jobs with the dispatch number of the first, which nearly all have; the others, and a single run, are
        # claimed one by one
        dispatch_no = dispatches[0][1]
        run_ids = [run_id for run_id, other in dispatches if other == dispatch_no]
        runs = runner.claim_batch(run_ids, dispatch_no, worker=worker) if run_ids[1:] else []
        self.claimed = {run.pk for run in runs}
        self._not_begun = {run.pk: run for run in runs}
        self._timer: Timer | None = None

    def __enter__(self) -> Self:
        if self._not_begun:
            self._renewer.hold(self._not_begun.values())
            self._timer = Timer(RELEASE_AFTER_SECONDS, self._release_late)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._timer:
            self._timer.cancel()
        self.release_rest("its worker is stopping")

    def take(self, run_id: UUID) -> FeatureRun | None:
        """Return the claimed run so that it can begin, or None if it was released. Its lease is still held."""
        return self._not_begun.pop(run_id, None)

    def release_rest(self, reason: str) -> None:
        """Release the runs that have not begun and enqueue them again for other workers."""
        while self._not_begun:
            run_id, run = self._not_begun.popitem()
            try:
                run.remember(run.release(f"released: {reason}"))
                relay.dispatch_due(run)
            except (Error, ClaimLost) as error:
                logger.warning("run not released run=%s error=%r; its lease will expire", run_id, error)
            self._renewer.let_go(run_id)

    def _release_late(self) -> None:
        try:
            self.release_rest("an earlier run of its batch is slow")
        finally:
            close_connections()  # those of the timer's thread
