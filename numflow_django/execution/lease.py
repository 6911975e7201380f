"""The leases of the runs that a process works on, renewed by it for as long as it lives."""

import os
import threading
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from django.db import connections

from ..conf import conf
from ..models import FeatureRun
from ..signals import logger

if TYPE_CHECKING:
    from uuid import UUID

#: A lease is renewed when this fraction of it has passed.
QUARTER = 4


class Keeper:
    """
    Renews the leases of a process, from a thread of its own.

    The process and not its parent renews them: a work-horse outlives the death of its RQ parent. Short runs never get
    as far as a renewal, and a process that is stopped or stuck in C code does not renew, which is what a lease is for.
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
                    # This thread's own connections; the tasks' are another thread's
                    connections.close_all()

    def _renewed(self, run: FeatureRun) -> bool:
        """Whether to go on; an outdated claim is found by the next checkpoint, which is guarded by it."""
        try:
            return run.renew_lease()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other leases are to be kept
            logger.warning("lease not renewed run=%s error=%r; trying again", run.pk, error)
            return True


class Lease:
    """Keeps a run for as long as the block takes."""

    _keeper: Keeper | None = None

    def __init__(self, run: FeatureRun) -> None:
        self._run = run

    @classmethod
    def keeper(cls) -> Keeper:
        """This process's; a fork has none of its parent's threads."""
        if cls._keeper is None or cls._keeper.pid != os.getpid():
            cls._keeper = Keeper()
        return cls._keeper

    def __enter__(self) -> Self:
        self.keeper().held[self._run.pk] = self._run
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.keeper().held.pop(self._run.pk, None)
