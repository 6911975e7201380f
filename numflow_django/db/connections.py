"""Clean up the worker's database connections after a task, so that the next task finds them sound."""

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
    """Remember the transactions that are open before a task, to find those that the task left open."""

    def __init__(self) -> None:
        self.depths = {connection.alias: len(connection.atomic_blocks) for connection in _initialized()}

    def clean_up(self) -> list[str]:
        """Roll back what the task left open and close dead connections. Return the aliases that were rolled back."""
        initialized = _initialized()
        left_open = [connection.alias for connection in initialized if self._roll_back(connection)]
        for connection in initialized:
            # The server may have closed it while the task did other work; the checkpoint must not fail because of that
            if not connection.in_atomic_block and _is_dead(connection):
                connection.close()
        return left_open

    def renew(self) -> None:
        """Close the connections of an interrupted task. Transactions from before the task stay open."""
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
    # Avoid a query for each task: if the server has closed the connection, there is something to read on its socket
    return raw.closed or (_has_something_to_read(raw.fileno()) and not connection.is_usable())


def _has_something_to_read(descriptor: int) -> bool:
    poller = poll()
    poller.register(descriptor, POLLIN)
    return bool(poller.poll(0))


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction without ``atomic`` is open: autocommit is off, or raw SQL sent a BEGIN."""
    raw: Any = connection.connection
    if raw is None:
        return False
    # When run_pending() replaces a worker, the driver's transaction belongs to the test
    in_test = getattr(connection, "is_in_test", False)
    return not connection.autocommit or (not in_test and _driver_is_in_transaction(connection, raw))


def _driver_is_in_transaction(connection: BaseDatabaseWrapper, raw: Any) -> bool:
    if getattr(connection, "mysql_is_mariadb", False):
        # MariaDB's driver does not know, and MySQL's server has no such variable. Use the driver's cursor, because a
        # TestCase forbids Django's cursor on databases that it does not name
        with suppress(Error), connection.wrap_database_errors, closing(raw.cursor()) as cursor:
            cursor.execute("SELECT @@in_transaction")
            return bool(cursor.fetchone()[0])
    status = _psycopg_status(raw)
    return status in PSYCOPG_OPEN if status is not None else bool(getattr(raw, "in_transaction", False))  # sqlite3


def _psycopg_status(raw: Any) -> int | None:
    return getattr(getattr(raw, "info", None), "transaction_status", None)


def _cancel_query(connection: BaseDatabaseWrapper) -> None:
    # Otherwise PostgreSQL would finish the query, keep its locks until then, and commit it
    raw: Any = connection.connection
    if _psycopg_status(raw) == PSYCOPG_ACTIVE:
        with suppress(Exception):
            raw.cancel()


def _end_transaction(connection: BaseDatabaseWrapper) -> None:
    # Closing is not enough, because Django keeps a SQLite database in memory open
    with suppress(Error):
        connection.rollback()
        connection.set_autocommit(True)
    connection.close()
