"""Close the database connections of this thread, and check them after a task so that the next one can use them."""

from collections.abc import Sequence
from select import POLLIN, poll
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import interrupted_queries, transactions


def close_connections() -> None:
    """
    Close this thread's database connections; its next query opens a new one.

    Before a fork: two processes must not share a connection. At the end of a thread, and before a long wait: Django
    closes connections only at the end of a request.
    """
    connections.close_all()


class OpenTransactions:
    """Remember the transactions that are open before a task, to find those that the task left open."""

    def __init__(self) -> None:
        self._depths = {connection.alias: len(connection.atomic_blocks) for connection in _initialized()}

    def clean_up(self) -> list[str]:
        """Roll back what the task left open and close dead connections. Return the aliases that were rolled back."""
        initialized = _initialized()
        left_open = [connection.alias for connection in initialized if self._roll_back(connection)]
        for connection in initialized:
            # The server may have closed it while the task did other work; the checkpoint must not fail because of that
            if not connection.in_atomic_block and _is_dead(connection):
                connection.close()
        return left_open

    def close_interrupted(self) -> None:
        """Close the connections of an interrupted task. Transactions from before the task stay open."""
        for connection in _initialized():
            interrupted_queries.cancel(connection)
            self._roll_back(connection)
            if not connection.in_atomic_block:
                connection.close()

    def _roll_back(self, connection: BaseDatabaseWrapper) -> bool:
        left_open = transactions.leave_blocks(connection, depth=self._depths.get(connection.alias, 0))
        if not connection.in_atomic_block and _is_in_transaction(connection):
            transactions.end(connection)
            left_open = True
        return left_open


def _initialized() -> Sequence[BaseDatabaseWrapper]:
    return connections.all(initialized_only=True)


def _is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction without ``atomic`` is open: autocommit is off, or raw SQL sent a BEGIN."""
    if connection.connection is None:
        return False
    if not connection.autocommit:
        return True
    return not transactions.belongs_to_caller(connection) and transactions.is_open(connection)


def _is_dead(connection: BaseDatabaseWrapper) -> bool:
    raw: Any = connection.connection
    if raw is None:
        return False
    if transactions.psycopg_status(connection) is None:
        return not connection.is_usable()
    # Avoid a query for each task: if the server has closed the connection, there is something to read on its socket
    return raw.closed or (_has_something_to_read(raw.fileno()) and not connection.is_usable())


def _has_something_to_read(descriptor: int) -> bool:
    poller = poll()
    poller.register(descriptor, POLLIN)
    return bool(poller.poll(0))
