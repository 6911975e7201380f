"""Renew the leases of the runs that this process works on."""

import os
import threading
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..conf import conf
from ..db.connections import close_connections
from ..models import FeatureRun
from ..signals import logger

if TYPE_CHECKING:
    from uuid import UUID

#: A lease is renewed when this fraction of it has passed.
QUARTER = 4


class Keeper:
    """
    Renew the leases of this process from a separate thread.

    The work-horse renews them and not its RQ parent, because it can outlive that parent. Short runs end before their
    first renewal. A process that is stopped or stuck in C code does not renew, so its leases expire as they should.
    """

    def __init__(self) -> None:
        self.held: dict[UUID, FeatureRun] = {}
        self.pid = os.getpid()
        threading.Thread(target=self._keep, name="numflow-leases", daemon=True).start()

    def _keep(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(conf.LEASE_SECONDS / QUARTER)
            due = [run for run in list(self.held.values()) if monotonic() - run.held_at > conf.LEASE_SECONDS / QUARTER]
            try:
                for run in due:
                    if not self._renewed(run):
                        self.held.pop(run.pk, None)
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


class Lease:
    """Hold the lease of a run while the block runs."""

    _keeper: Keeper | None = None

    def __init__(self, run: FeatureRun) -> None:
        self._run = run

    @classmethod
    def keeper(cls) -> Keeper:
        """Return the keeper of this process. A fork gets a new one, because threads are not inherited."""
        if cls._keeper is None or cls._keeper.pid != os.getpid():
            cls._keeper = Keeper()
        return cls._keeper

    def __enter__(self) -> Self:
        self.keeper().held[self._run.pk] = self._run
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.keeper().held.pop(self._run.pk, None)
