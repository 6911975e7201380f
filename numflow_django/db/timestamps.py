"""
Write times in one format on each database, so that they compare and sort correctly.

SQLite has no type for times and compares their text. Django writes a parameter with six digits after the second, or
none if they are zero, but the database's clock with three: ``12:00:00.500000`` does not equal ``12:00:00.500``.
"""

from datetime import timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, functions
from django.db.models.sql.compiler import SQLCompiler

#: SQLite's clock, in milliseconds, with the six digits of TimestampField. Escaped for Func and for the driver.
SQLITE_NOW = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW'{shift})"

#: The length of SQLite's text for a time without a fraction: 2026-11-29 12:00:00.
WHOLE_SECOND = 19


class TimestampField(DateTimeField):  # type: ignore[type-arg]
    """A DateTimeField with one format on each database. The schema and migrations see a DateTimeField."""

    def deconstruct(self) -> Any:
        """Return what a DateTimeField returns: the column is the same."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """Return the parameter for *value*; on SQLite always with six digits after the second."""
        parameter = super().get_db_prep_value(value, connection, prepared)
        if connection.vendor == "sqlite" and parameter is not None and len(parameter) == WHOLE_SECOND:
            return f"{parameter}.000000"
        return parameter


class Now(functions.Now):
    """
    The database's clock at the start of the statement, plus *seconds* (a float, below zero for the past).

    Unlike ``django.db.models.functions.Now() + timedelta(...)``, it has the format of a TimestampField on SQLite.
    """

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.seconds = seconds

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **context: Any) -> Any:
        """Return the clock plus the seconds, as Django writes that for a database that is not named below."""
        if not self.seconds or args or context:
            return super().as_sql(compiler, connection, *args, **context)
        return compiler.compile(self._shifted(compiler))

    def as_oracle(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """Return LOCALTIMESTAMP, as Django does, plus the seconds."""
        if not self.seconds:
            return super().as_oracle(compiler, connection, **context)
        return compiler.compile(self._shifted(compiler))

    def _shifted(self, compiler: SQLCompiler) -> Any:
        return (functions.Now() + timedelta(seconds=self.seconds)).resolve_expression(compiler.query)

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """Return STATEMENT_TIMESTAMP(), as Django does, plus the seconds."""
        sql, params = super().as_postgresql(compiler, connection, **context)
        return (f"({sql} + %s * INTERVAL '1 second')", (*params, self.seconds)) if self.seconds else (sql, params)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """Return CURRENT_TIMESTAMP(6), as Django does, plus the seconds."""
        sql, params = super().as_mysql(compiler, connection, **context)
        shift = round(self.seconds * 1_000_000)
        return (f"({sql} + INTERVAL %s MICROSECOND)", (*params, shift)) if self.seconds else (sql, params)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """Return STRFTIME(), as Django does, but with six digits after the second."""
        template = SQLITE_NOW.format(shift=", %%s" if self.seconds else "")
        sql, params = self.as_sql(compiler, connection, template=template, **context)
        return sql, (*params, f"{self.seconds:.6f} seconds") if self.seconds else params
