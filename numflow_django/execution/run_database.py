"""The database of a run, which may be down for a while."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..models import FeatureRun
from ..signals import logger

T = TypeVar("T")

#: Seconds between the tries to write to a database that is down. After the last one, the run's lease expires.
WRITE_WAITS = (0.2, 0.5, 1, 2, 4)


class RunDatabase:
    """The connection to the database of a run row."""

    def __init__(self, run: FeatureRun) -> None:
        self._run = run

    @property
    def alias(self) -> str:
        """Return the database's name in the settings."""
        return self._run._state.db or "default"

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Return Django's connection."""
        return connections[self.alias]

    def retrying(self, operation: Callable[[], T]) -> T:
        """
        Return ``operation()``. While the database is down, wait and call it again.

        A task's work is done by then, and only its record is missing.
        """
        for wait in WRITE_WAITS:
            try:
                return operation()
            except (OperationalError, InterfaceError) as error:
                if self.connection.in_atomic_block:
                    raise
                logger.warning("not written run=%s error=%r; trying again", self._run.pk, error)
                self.connection.close()
                time.sleep(wait)
        return operation()

    def is_connection_lost(self, error: BaseException, *, began_on: Any) -> bool:
        """
        Return whether *error* comes from a lost connection and not from the task.

        *began_on* is the driver's connection on which an atomic task began, or None for other tasks.
        """
        if not isinstance(error, OperationalError | InterfaceError) or self.connection.in_atomic_block:
            return False
        if self.connection.closed_in_transaction:
            return False  # the task itself closed it
        raw = self.connection.connection
        # If the server closed the connection during an atomic task, Django has opened a new one to roll back
        return raw is None or raw is not (began_on or raw) or not self.connection.is_usable()
