"""Renew the leases of the runs that this process works on."""

import os
import threading
from collections.abc import Iterable
from typing import ClassVar
from uuid import UUID

from ..conf import conf
from ..db.connections import close_connections
from ..models import FeatureRun
from ..signals import logger

#: A lease is renewed when this fraction of it has passed: three renewals may fail before it expires.
RENEW_AFTER = 1 / 4


class LeaseRenewer:
    """
    Renew the leases of its runs from a separate thread.

    The work-horse renews its leases itself, because it may live longer than its worker. Short runs end before their
    first renewal. A process that is stopped or stuck in C code does not renew, so its leases expire as they should.
    """

    _of_process: ClassVar["LeaseRenewer | None"] = None

    def __init__(self) -> None:
        self._runs: dict[UUID, FeatureRun] = {}
        self._pid = os.getpid()
        self._closed = threading.Event()
        threading.Thread(target=self._keep, name="numflow-leases", daemon=True).start()

    @classmethod
    def of_process(cls) -> "LeaseRenewer":
        """Return the renewer of this process. A fork gets a new one, because threads are not inherited."""
        if cls._of_process is None or cls._of_process._pid != os.getpid():
            cls._of_process = LeaseRenewer()
        return cls._of_process

    @property
    def held(self) -> set[UUID]:
        """Return the ids of the runs whose leases it renews."""
        return set(self._runs)

    def hold(self, runs: Iterable[FeatureRun]) -> None:
        """Renew the leases of these runs from now on."""
        self._runs.update({run.pk: run for run in runs})

    def let_go(self, run_id: UUID) -> None:
        """Stop renewing the lease of this run."""
        self._runs.pop(run_id, None)

    def close(self) -> None:
        """End the thread, for a renewer that a test has made."""
        self._closed.set()

    def _keep(self) -> None:
        while not self._closed.wait(conf.LEASE_SECONDS * RENEW_AFTER):
            due = [run for run in list(self._runs.values()) if run.has_used_lease(RENEW_AFTER)]
            try:
                for run in due:
                    if not self._renewed(run):
                        self.let_go(run.pk)
            finally:
                if due:
                    # Only this thread's connections; the tasks use those of another thread
                    close_connections()

    def _renewed(self, run: FeatureRun) -> bool:
        """Return whether to keep renewing. A worker that lost its claim finds out at its next checkpoint."""
        try:
            return run.renew_lease()
        except Exception as error:  # noqa: BLE001 - any error: the other leases must still be renewed
            logger.warning("lease not renewed run=%s error=%r; trying again", run.pk, error)
            return True
