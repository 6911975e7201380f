"""The worker's database connections: no task may leave one in a state that the next task would suffer from."""

from collections.abc import Sequence
from contextlib import closing, suppress
from select import POLLIN, poll
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..exceptions import TransactionLeftOpen

#: psycopg's TransactionStatus of a connection that waits for a query: ACTIVE.
PSYCOPG_ACTIVE = 1
#: The same of a connection that is in a transaction: ACTIVE, INTRANS, INERROR.
PSYCOPG_OPEN = (1, 2, 3)


class Watch:
    """Remembers the open transactions before a task, to find those that the task left open."""

    def __init__(self) -> None:
        self.depths = {connection.alias: len(connection.atomic_blocks) for connection in _initialized()}

    def clean_up(self) -> list[str]:
        """Give the aliases whose transactions the task left open; they are rolled back. Drop dead connections."""
        initialized = _initialized()
        left_open = [connection.alias for connection in initialized if self._roll_back(connection)]
        for connection in initialized:
            # The server may have hung up while the task was busy elsewhere; the checkpoint must not fail of it
            if not connection.in_atomic_block and _is_dead(connection):
                connection.close()
        return left_open

    def renew(self) -> None:
        """Close the connections that a task was interrupted on; what was open before the task stays open."""
        for connection in _initialized():
            _cancel_query(connection)
            self._roll_back(connection)
            if not connection.in_atomic_block:
                connection.close()

    def _roll_back(self, connection: BaseDatabaseWrapper) -> bool:
        depth = self.depths.get(connection.alias, 0)
        left_open = len(connection.atomic_blocks) > depth
        while len(connection.atomic_blocks) > depth:
            connection.atomic_blocks[-1].__exit__(TransactionLeftOpen, TransactionLeftOpen(), None)
        if not connection.in_atomic_block and _is_in_transaction(connection):
            _end_transaction(connection)
            left_open = True
        return left_open


def _initialized() -> Sequence[BaseDatabaseWrapper]:
    return connections.all(initialized_only=True)


def _is_dead(connection: BaseDatabaseWrapper) -> bool:
    raw: Any = connection.connection
    if raw is None:
        return False
    if _psycopg_status(raw) is None:
        return not connection.is_usable()
    # No query for each task: a server that has hung up, or has said why it is about to, can be heard without one
    return raw.closed or (_has_something_to_read(raw.fileno()) and not connection.is_usable())


def _has_something_to_read(descriptor: int) -> bool:
    poller = poll()
    poller.register(descriptor, POLLIN)
    return bool(poller.poll(0))


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction is open that no ``atomic`` opened: autocommit switched off, or a BEGIN in raw SQL."""
    raw: Any = connection.connection
    if raw is None:
        return False
    # While run_pending() stands in for a worker, the driver's transaction is the test's
    in_test = getattr(connection, "is_in_test", False)
    return not connection.autocommit or (not in_test and _driver_is_in_transaction(connection, raw))


def _driver_is_in_transaction(connection: BaseDatabaseWrapper, raw: Any) -> bool:
    if getattr(connection, "mysql_is_mariadb", False):
        # Its driver cannot tell; MySQL's own server has no such variable either. On the driver's cursor: a TestCase
        # forbids Django's on the databases that it does not name
        with suppress(Error), connection.wrap_database_errors, closing(raw.cursor()) as cursor:
            cursor.execute("SELECT @@in_transaction")
            return bool(cursor.fetchone()[0])
    status = _psycopg_status(raw)
    return status in PSYCOPG_OPEN if status is not None else bool(getattr(raw, "in_transaction", False))  # sqlite3


def _psycopg_status(raw: Any) -> int | None:
    return getattr(getattr(raw, "info", None), "transaction_status", None)


def _cancel_query(connection: BaseDatabaseWrapper) -> None:
    # PostgreSQL would go on with it, keep its locks, and commit it in the end
    raw: Any = connection.connection
    if _psycopg_status(raw) == PSYCOPG_ACTIVE:
        with suppress(Exception):
            raw.cancel()


def _end_transaction(connection: BaseDatabaseWrapper) -> None:
    # Closing alone would do, but Django keeps a SQLite database in memory open
    with suppress(Error):
        connection.rollback()
        connection.set_autocommit(True)
    connection.close()
