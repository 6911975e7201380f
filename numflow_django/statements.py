"""
The statements of a run's happy path, written by hand: to insert it, to claim it, and to move it on past a task.

They are what a site does all day, and Django's ORM takes longer to write such a statement than a database to carry
it out. Where a database can, each is one round trip and, outside of a transaction, one commit. PostgreSQL need not wait
for its disk then: a claim or a checkpoint that a crash of the server takes back only repeats a task, and the claim's
random id fences. A task's own transaction is as durable as the site's settings make it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from django.db.models.sql import Query

#: For the transaction that is open, which outside of atomic() is the statement's own.
RELAX = "set_config('synchronous_commit', 'off', true)"

#: The database's own clock; its SQL is remembered.
NOW = Now()

M = TypeVar("M", bound=models.Model)


class Guard:
    """What has to be true of a row: columns, and the value that each must have; a tuple: one of these."""

    def __init__(self, **wanted: Any) -> None:
        self.wanted = wanted

    def sql(self, model: type[models.Model], connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
        """The condition, and its parameters."""
        parts, values = [], []
        for name, wanted in self.wanted.items():
            field = _field(model, name)
            column = _quoted(connection, field.column)
            if name != "id" and connection.vendor == "postgresql" and isinstance(field, models.CharField):
                # Or an index of states might be taken for better than the primary key, while there is no statistics
                column = f"({column} || '')"
            choice = _choice(wanted)
            parts.append(f"{column} IN ({', '.join(['%s'] * len(choice))})" if choice[1:] else f"{column} = %s")
            values += [field.get_db_prep_value(value, connection) for value in choice]
        return " AND ".join(parts), values


def insert(rows: models.QuerySet[M], values: Mapping[str, Any]) -> M:
    """Insert a row and give it; what the database itself filled in is read when it is asked for."""
    model, connection = rows.model, connections[rows.db]
    given = {field.name: field.get_default() for field in _filled(model)} | dict(values)
    parts = [(name, *_value(model, _field(model, name), value, connection)) for name, value in given.items()]
    columns = ", ".join(_quoted(connection, _field(model, name).column) for name, _, _ in parts)
    table = _quoted(connection, model._meta.db_table)
    marks = ", ".join(sql for _, sql, _ in parts)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608 - names of ours
            [value for _, _, prepared in parts for value in prepared],
        )
    known = [field.attname for field in model._meta.concrete_fields if not _is_expression(given.get(field.name, NOW))]
    return model.from_db(rows.db, known, [given[name] for name in known])


@lru_cache
def _filled(model: type[models.Model]) -> tuple[Any, ...]:
    """The fields whose default is Python's and not the database's."""
    return tuple(field for field in model._meta.concrete_fields if not field.has_db_default())


def claim(rows: models.QuerySet[M], guard: Guard, changes: Mapping[str, Any]) -> list[M]:
    """Change those of *rows* that *guard* lets pass; give them, in no order."""
    model, connection = rows.model, connections[rows.db]
    update, values = _update(model, connection, changes, guard)
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(update, values)
            claimed = cursor.rowcount
        return list(rows.filter(pk__in=_choice(guard.wanted["id"]), claim_id=changes["claim_id"])) if claimed else []
    returning = ", ".join(_columns(connection, model._meta.concrete_fields))
    relax = f", {RELAX}" if _is_relaxed(connection) else ""
    return list(rows.raw(f"{update} RETURNING {returning}{relax}", values))


def advance(run: models.Model, guard: Guard, changes: Mapping[str, Any], executions: Sequence[models.Model]) -> bool:
    """Change the row of *run* and write *executions*, both or neither; give whether *guard* let it pass."""
    connection = connections[run._state.db or "default"]
    update, values = _update(type(run), connection, changes, guard)
    if connection.vendor == "postgresql":
        return _advance_at_once(connection, update, values, executions)
    with transaction.atomic(using=connection.alias, savepoint=False), connection.cursor() as cursor:
        cursor.execute(update, values)
        if not cursor.rowcount:
            return False
        if executions:
            insert, fields = _insert(type(executions[0]), connection)
            rows = [_row(execution, fields, connection) for execution in executions]
            marks = ", ".join(f"({row})" for row, _ in rows)
            cursor.execute(f"{insert} VALUES {marks}", [value for _, prepared in rows for value in prepared])
    return True


def _advance_at_once(
    connection: BaseDatabaseWrapper, update: str, values: list[Any], executions: Sequence[models.Model]
) -> bool:
    sql = f"WITH moved AS ({update} RETURNING 1)"
    if executions:
        insert, fields = _insert(type(executions[0]), connection)
        rows = [_row(execution, fields, connection, typed=True) for execution in executions]
        selected = " UNION ALL ".join(f"SELECT {row} FROM moved" for row, _ in rows)  # noqa: S608 - names of ours
        sql += f", logged AS ({insert} {selected})"
        values = values + [value for _, prepared in rows for value in prepared]
    relax = f", {RELAX}" if _is_relaxed(connection) else ""
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} SELECT 1{relax} FROM moved", values)  # noqa: S608 - names of ours
        return cursor.fetchone() is not None


def _choice(wanted: Any) -> tuple[Any, ...]:
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _is_relaxed(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql" and not connection.in_atomic_block


def _update(
    model: type[models.Model], connection: BaseDatabaseWrapper, changes: Mapping[str, Any], guard: Guard
) -> tuple[str, list[Any]]:
    parts, values = [], []
    for name, value in changes.items():
        field = _field(model, name)
        sql, prepared = _value(model, field, value, connection)
        parts.append(f"{_quoted(connection, field.column)} = {sql}")
        values += prepared
    condition, wanted = guard.sql(model, connection)
    table = _quoted(connection, model._meta.db_table)
    return f"UPDATE {table} SET {', '.join(parts)} WHERE {condition}", values + wanted  # noqa: S608 - names of ours


def _value(model: type[models.Model], field: Any, value: Any, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:
    """A value, or an expression such as Now(), as SQL and its parameters."""
    if not _is_expression(value):
        return _literal(field.get_db_prep_save(value, connection))
    if value is NOW:
        return _now(connection.alias), []
    query = Query(model)
    compiler = query.get_compiler(connection=connection)
    sql, values = compiler.compile(value.resolve_expression(query, allow_joins=False, for_save=True))
    return sql, list(values)


def _literal(value: Any) -> tuple[str, list[Any]]:
    """A prepared value as SQL and its parameters; what needs no quotes takes no driver's time for them."""
    if value is None:
        return "NULL", []
    if type(value) is int:
        return str(value), []
    return ("''", []) if value == "" else ("%s", [value])


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression")


@lru_cache
def _now(alias: str) -> str:
    query = Query(None)
    sql, _ = query.get_compiler(alias).compile(NOW)
    return str(sql)


def _insert(model: type[models.Model], connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
    fields = _insert_fields(model)
    table, columns = _quoted(connection, model._meta.db_table), ", ".join(_columns(connection, fields))
    return f"INSERT INTO {table} ({columns})", fields


@lru_cache
def _insert_fields(model: type[models.Model]) -> tuple[Any, ...]:
    return tuple(field for field in model._meta.concrete_fields if not field.primary_key)


@lru_cache
def _type(field: Any, alias: str) -> str:
    return str(field.cast_db_type(connections[alias]))


def _row(
    row: models.Model, fields: Iterable[Any], connection: BaseDatabaseWrapper, *, typed: bool = False
) -> tuple[str, list[Any]]:
    """The values of a row, separated by commas, and the parameters; *typed*: where SQL does not know their types."""
    parts, values = [], []
    for field in fields:
        sql, prepared = _literal(field.get_db_prep_save(getattr(row, field.attname), connection))
        parts.append(f"{sql}::{_type(field, connection.alias)}" if typed else sql)
        values += prepared
    return ", ".join(parts), values


def _columns(connection: BaseDatabaseWrapper, fields: Iterable[Any]) -> list[str]:
    return [_quoted(connection, field.column) for field in fields]


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def _quoted(connection: BaseDatabaseWrapper, name: str) -> str:
    return connection.ops.quote_name(name)
