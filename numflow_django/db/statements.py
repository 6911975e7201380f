"""
The statements of a run's normal path: insert it, claim it, and advance it past a task.

A site runs them all the time, and Django's ORM takes longer to build such a statement than a database to execute it.
So they are SQL of our own on the databases that we have measured, and Django's ORM on all others.

Where the database supports it, each is one round trip and, outside of a transaction, one commit. PostgreSQL then need
not wait for its disk: if a crash of the server loses a claim or a checkpoint, a task is only repeated, and the claim's
random id stops the old worker. A task's own transaction is as durable as the site's settings make it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from . import orm, sql
from .sql import Log, choice_of, shape_of

M = TypeVar("M", bound=models.Model)

#: Django's names of the databases on which our own SQL is tested and measured to be faster than the ORM.
MEASURED = frozenset({"postgresql", "sqlite", "mysql"})


def insert(rows: models.QuerySet[M], values: Mapping[str, Any]) -> M:
    """
    Insert a row and return it. Fields that the database fills in are read at their first use.

    *values* must hold the primary key, and may hold expressions.
    """
    connection, parameters = connections[rows.db], []  # type: ignore[var-annotated]
    if connection.vendor not in MEASURED:
        return orm.insert(rows, values)
    statement, known = sql.insertion(rows.model, rows.db, shape_of(values, parameters))
    with _cursor(connection) as cursor:
        statement.run(cursor, parameters, connection)
    return rows.model.from_db(rows.db, known, [values.get(name, default) for name, default in known.items()])


def claim(rows: models.QuerySet[M], guard: Mapping[str, Any], changes: Mapping[str, Any]) -> list[M]:
    """
    Change the rows whose columns match *guard* (a tuple: any of its values) and return them, in no fixed order.

    *changes* may hold expressions, and must hold a ``claim_id`` that no other claim has.
    """
    connection, parameters = connections[rows.db], []  # type: ignore[var-annotated]
    if connection.vendor not in MEASURED:
        return orm.claim(rows, guard, changes)
    shapes = rows.model, rows.db, shape_of(changes, parameters), shape_of(guard, parameters)
    if _has_update_returning(connection):
        statement = sql.claim(*shapes, _is_relaxed(connection))
        return list(rows.raw(statement.sql, statement.filled(parameters, connection)))
    with connection.cursor() as cursor:
        sql.update(*shapes).run(cursor, parameters, connection)
        claimed = cursor.rowcount
    return list(rows.filter(pk__in=choice_of(guard["id"]), claim_id=changes["claim_id"])) if claimed else []


def advance(
    run: models.Model, guard: Mapping[str, Any], changes: Mapping[str, Any], executions: Sequence[models.Model]
) -> bool:
    """Change the row of *run* and write *executions*, both or neither. Return whether the row matched *guard*."""
    connection = connections[run._state.db or "default"]
    if connection.vendor not in MEASURED:
        return orm.advance(run, guard, changes, executions)
    parameters: list[Any] = []
    move = type(run), connection.alias, shape_of(changes, parameters), shape_of(guard, parameters)
    moving, log = len(parameters), Log.of(executions, parameters)
    if connection.vendor == "postgresql":
        statement = sql.advance_at_once(*move, log, _is_relaxed(connection))
        with _cursor(connection) as cursor:
            statement.run(cursor, parameters, connection)
            return cursor.fetchone() is not None
    with transaction.atomic(using=connection.alias, savepoint=False), connection.cursor() as cursor:
        sql.update(*move).run(cursor, parameters[:moving], connection)
        is_moved = bool(cursor.rowcount)
        if is_moved and log:
            sql.log_rows(connection.alias, log).run(cursor, parameters[moving:], connection)
    return is_moved


def _cursor(connection: BaseDatabaseWrapper) -> Any:
    """
    Return a cursor; on PostgreSQL one that prepares its statements, if the site allows it.

    A site allows it with ``prepare_threshold`` in OPTIONS. Django's default is off, because some poolers cannot.
    """
    connection.ensure_connection()
    raw: Any = connection.connection
    if getattr(raw, "prepare_threshold", None) is None:
        return connection.cursor()
    from django.db.backends.postgresql.base import ServerBindingCursor

    # Django's default cursor binds the parameters on the client, and such statements cannot be prepared
    cursor = cast("Any", ServerBindingCursor)(raw)
    return connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)


def _has_update_returning(connection: BaseDatabaseWrapper) -> bool:
    # MariaDB has RETURNING for INSERT only, and SQLite for both from 3.35 on
    return connection.vendor != "mysql" and connection.features.can_return_columns_from_insert


def _is_relaxed(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql" and not connection.in_atomic_block
