"""Ask a database driver about its transaction, and roll back what a step or a task left open."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from enum import IntEnum
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from ..exceptions import TransactionLeftOpen


class PsycopgStatus(IntEnum):
    """psycopg's TransactionStatus. It is written out here because psycopg need not be installed."""

    IDLE = 0
    ACTIVE = 1  # a query is running
    INTRANS = 2  # idle in a transaction
    INERROR = 3  # in a transaction in which a statement has failed
    UNKNOWN = 4  # the connection is broken


#: The states in which a transaction is open.
OPEN = frozenset({PsycopgStatus.ACTIVE, PsycopgStatus.INTRANS, PsycopgStatus.INERROR})

_callers: ContextVar[frozenset[str]] = ContextVar("callers", default=frozenset())


def psycopg_status(connection: BaseDatabaseWrapper) -> int | None:
    """Return psycopg's status of the transaction, or None for another driver or a closed connection."""
    return getattr(getattr(connection.connection, "info", None), "transaction_status", None)


def is_open(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction is open according to the driver, also one that raw SQL began."""
    raw: Any = connection.connection
    if raw is None:
        return False
    if getattr(connection, "mysql_is_mariadb", False):
        # MariaDB's driver does not know, and MySQL's server has no such variable. Use the driver's cursor, because a
        # TestCase forbids Django's cursor on databases that it does not name
        with suppress(Error), connection.wrap_database_errors, closing(raw.cursor()) as cursor:
            cursor.execute("SELECT @@in_transaction")
            return bool(cursor.fetchone()[0])
    status = psycopg_status(connection)
    return status in OPEN if status is not None else bool(getattr(raw, "in_transaction", False))  # sqlite3


def is_aborted(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a statement has failed, so that PostgreSQL refuses all others until a rollback."""
    return psycopg_status(connection) == PsycopgStatus.INERROR


def would_commit_nothing(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a COMMIT of the open ``atomic`` block would commit nothing and raise nothing."""
    if connection.vendor == "sqlite":
        return not is_open(connection)
    # PostgreSQL answers the COMMIT of an aborted transaction with a rollback and no error
    return is_aborted(connection)


def is_aborted_by_errors(connection: BaseDatabaseWrapper) -> bool:
    """Return whether one failed statement makes this database refuse the rest of the transaction."""
    return connection.vendor == "postgresql"


@contextmanager
def inside_callers_transaction(aliases: Iterable[str]) -> Iterator[None]:
    """
    Run the block inside transactions on *aliases* that its caller began and will end.

    Django sees no transaction there, but the driver has one open. A task in the block has not left it open.
    """
    before = _callers.get()
    _callers.set(before | set(aliases))
    try:
        yield
    finally:
        _callers.set(before)


def belongs_to_caller(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the open transaction is the caller's: see :func:`inside_callers_transaction`."""
    return connection.alias in _callers.get()


def leave_blocks(connection: BaseDatabaseWrapper, *, depth: int) -> bool:
    """Roll back the ``atomic`` blocks inside the outer *depth* ones. Return whether there were any."""
    are_left_open = len(connection.atomic_blocks) > depth
    while len(connection.atomic_blocks) > depth:
        connection.atomic_blocks[-1].__exit__(TransactionLeftOpen, TransactionLeftOpen(), None)
    return are_left_open


def end(connection: BaseDatabaseWrapper) -> None:
    """Roll back the transaction that was begun without ``atomic``, and close the connection."""
    # Closing is not enough, because Django keeps a SQLite database in memory open
    with suppress(Error):
        connection.rollback()
        connection.set_autocommit(True)
    connection.close()
