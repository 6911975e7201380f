"""Add advice to the database error that our tables are missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, ProgrammingError

#: Codes for a missing table or column: PostgreSQL's SQLSTATEs, and the error numbers of MariaDB and MySQL.
MISSING = frozenset({"42P01", "42703", 1146, 1054})
#: The same as text for SQLite, which has one code for all such errors.
MISSING_IN_SQLITE = ("no such table", "no such column", "has no column named")


@contextmanager
def noting_missing_tables(alias: str) -> Iterator[None]:
    """Add a note to an error that the run tables are missing in the database *alias*, and raise it again."""
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        if _is_table_missing(error):
            error.add_note(
                f"the run tables in DATABASES[{alias!r}] are missing or old: run manage.py migrate --database {alias}; "
                f"if that does not help, run manage.py check --database {alias}"
            )
        raise


def _is_table_missing(error: Exception) -> bool:
    codes = {getattr(error.__cause__, "sqlstate", None), getattr(error.__cause__, "pgcode", None), *error.args[:1]}
    return not MISSING.isdisjoint(codes) or any(words in str(error) for words in MISSING_IN_SQLITE)
