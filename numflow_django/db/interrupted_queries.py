"""What to do with a query that was interrupted and that the server may still execute."""

from contextlib import suppress
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from .transactions import PsycopgStatus, psycopg_status


def cancel(connection: BaseDatabaseWrapper) -> None:
    """Cancel the interrupted query. Otherwise PostgreSQL would finish and commit it, and keep its locks until then."""
    raw: Any = connection.connection
    if psycopg_status(connection) == PsycopgStatus.ACTIVE:
        with suppress(Exception):
            raw.cancel()


def discard(connection: BaseDatabaseWrapper) -> None:
    """Discard the interrupted query and its result, so that the same connection can execute the next query."""
    raw: Any = connection.connection
    if connection.vendor == "mysql":
        # It repeats the error of the cursor that could not be closed, and has discarded the result all the same
        with suppress(Exception):
            raw.discard_result()
    elif hasattr(raw, "pgconn") and psycopg_status(connection) == PsycopgStatus.ACTIVE:
        raw.cancel()
        while raw.pgconn.get_result():
            pass
