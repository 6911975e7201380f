"""The lease of a run, renewed by the process that runs its tasks for as long as it lives."""

import threading
from types import TracebackType
from typing import Self

from django.db import Error, connections

from .conf import conf
from .models import FeatureRun
from .signals import logger


class Lease:
    """
    Renews a run's lease every quarter of it, from a thread, while its tasks run.

    The process and not its parent renews it: a work-horse outlives the death of its RQ parent. Short runs never get as
    far as a renewal, and a process that is stopped or stuck in C code does not renew, which is what a lease is for.
    """

    def __init__(self, run: FeatureRun) -> None:
        self._run = run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"numflow-lease-{run.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        try:
            while not self._over.wait(conf.LEASE_SECONDS / 4):
                if not self._renewed():
                    return
        finally:
            # This thread's own connections; the tasks' are another thread's
            connections.close_all()

    def _renewed(self) -> bool:
        """Whether to go on; an outdated claim is found by the next checkpoint, which is guarded by it."""
        try:
            return self._run.renew_lease()
        except Error as error:
            logger.warning("lease not renewed run=%s error=%r; trying again", self._run.pk, error)
            connections[self._run._state.db or "default"].close()
            return True
