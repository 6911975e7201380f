"""
Build the text of our own SQL statements, once for each shape.

A shape is the columns and the few values that are written into the SQL itself. Names come from the models' own fields;
all other values are parameters for the database driver.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql import Query

from .literals import literal_of

#: It holds for the open transaction; outside of atomic() that is the statement itself.
RELAX = "set_config('synchronous_commit', 'off', true)"

#: The most shapes that are cached. A wait is part of a shape and may be any number of seconds.
SHAPES = 512

#: In a shape, this stands for a value that the statement takes as a parameter.
PARAMETER = object()

#: Values of these types are always parameters. Most values are of these types.
ALWAYS_PARAMETERS = frozenset({int, datetime, UUID, list, dict})

#: Pairs of a column and a constant or PARAMETER; in a guard, a column may have a tuple of these.
Shape = tuple[tuple[str, Any], ...]


class Part(NamedTuple):
    """A piece of SQL, and for each placeholder either the field that prepares its value or a fixed value."""

    sql: str
    slots: tuple[tuple[Any, Any], ...] = ()

    def run(self, cursor: Any, values: Iterable[Any], connection: BaseDatabaseWrapper) -> None:
        """Execute it with *values* in its placeholders, in this order."""
        cursor.execute(self.sql, self.filled(values, connection))

    def filled(self, values: Iterable[Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """Return the parameters for the placeholders, made from *values*."""
        rest = iter(values)
        return [own if field is None else field.get_db_prep_save(next(rest), connection) for field, own in self.slots]


class Log(NamedTuple):
    """The rows that a statement adds to the task log."""

    model: type[models.Model]
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, rows: Sequence[models.Model], parameters: list[Any]) -> "Log | None":
        """Return the log of *rows*, or None if there are none. Add their values to *parameters*."""
        if not rows:
            return None
        model = type(rows[0])
        columns = _logged(model)
        return cls(model, tuple(shape_of(row.__dict__, parameters, columns) for row in rows))


def shape_of(values: Mapping[str, Any], parameters: list[Any], columns: Mapping[str, bool] | None = None) -> Shape:
    """
    Return the shape of *values*: each value itself if it is written into the SQL, else PARAMETER.

    Add the values of the PARAMETERs to *parameters*. *columns* limits the shape to these columns, and says which are
    JSON: those are always parameters.
    """
    shape: list[tuple[str, Any]] = []
    for name in columns or values:
        value = values[name]
        if isinstance(value, tuple):
            parameters += value
            shape.append((name, (PARAMETER,) * len(value)))
        elif _is_constant(value) and not (value is not None and columns and columns[name]):
            shape.append((name, value))
        else:
            parameters.append(value)
            shape.append((name, PARAMETER))
    return tuple(shape)


def choice_of(wanted: Any) -> tuple[Any, ...]:
    """Return the values that a guard accepts."""
    return wanted if isinstance(wanted, tuple) else (wanted,)


def _is_constant(value: Any) -> bool:
    """Return whether a value is written into the SQL itself: a literal or an expression."""
    if type(value) in ALWAYS_PARAMETERS:
        return False
    return literal_of(value) is not None or hasattr(value, "resolve_expression")


# Statements


@lru_cache(maxsize=SHAPES)
def insertion(model: type[models.Model], alias: str, shape: Shape) -> tuple[Part, dict[str, Any]]:
    """Return the INSERT, and the columns whose values are known afterwards, each with its default."""
    connection, given = connections[alias], dict(shape)
    parts = [_value(model, _field(model, name), value, connection) for name, value in shape]
    known = {name: value for name, value in shape if not hasattr(value, "resolve_expression")}
    fields = model._meta.concrete_fields
    left = [field for field in fields if field.name not in given and not field.has_db_default()]
    for field in left:
        if field.primary_key:
            raise ValueError(f"insert a {model.__name__} with its {field.name}: defaults are cached for all rows")
        default = field.get_default()
        parts.append(Part("%s", ((None, field.get_db_prep_save(default, connection)),)))
        if not isinstance(default, list | dict):
            known[field.attname] = default
    columns = _columns(connection, [*(_field(model, name) for name in given), *left])
    row = _joined(parts)
    sql = f"INSERT INTO {_table(model, connection)} ({columns}) VALUES ({row.sql})"  # noqa: S608 - names of ours
    # In the order of the model's fields
    return Part(sql, row.slots), {field.attname: known[field.attname] for field in fields if field.attname in known}


@lru_cache(maxsize=SHAPES)
def claim(model: type[models.Model], alias: str, changes: Shape, guard: Shape, is_relaxed: bool) -> Part:
    moved, connection = update(model, alias, changes, guard), connections[alias]
    relax = f", {RELAX}" if is_relaxed else ""
    returning = _columns(connection, model._meta.concrete_fields)
    return Part(f"{moved.sql} RETURNING {returning}{relax}", moved.slots)


@lru_cache(maxsize=SHAPES)
def update(model: type[models.Model], alias: str, changes: Shape, guard: Shape) -> Part:
    connection = connections[alias]
    sets = [
        Part(f"{_columns(connection, [field])} = {part.sql}", part.slots)
        for name, value in changes
        for field in [_field(model, name)]
        for part in [_value(model, field, value, connection)]
    ]
    conditions = [_condition(model, name, wanted, connection) for name, wanted in guard]
    set_, where = _joined(sets), _joined(conditions, " AND ")
    sql = f"UPDATE {_table(model, connection)} SET {set_.sql} WHERE {where.sql}"  # noqa: S608 - names of ours
    return Part(sql, set_.slots + where.slots)


@lru_cache(maxsize=SHAPES)
def advance_at_once(
    model: type[models.Model], alias: str, changes: Shape, guard: Shape, log: Log | None, is_relaxed: bool
) -> Part:
    moved = update(model, alias, changes, guard)
    sql, slots = f"WITH moved AS ({moved.sql} RETURNING 1)", moved.slots
    if log:
        rows = [_row(log.model, shape, connections[alias], typed=True) for shape in log.shapes]
        selected = _joined([Part(f"SELECT {row.sql} FROM moved", row.slots) for row in rows], " UNION ALL ")  # noqa: S608 - names of ours
        sql += f", logged AS ({_insert_into(log.model, connections[alias])} {selected.sql})"
        slots += selected.slots
    relax = f", {RELAX}" if is_relaxed else ""
    return Part(f"{sql} SELECT 1{relax} FROM moved", slots)  # noqa: S608 - names of ours


@lru_cache(maxsize=SHAPES)
def log_rows(alias: str, log: Log) -> Part:
    rows = [_row(log.model, shape, connections[alias]) for shape in log.shapes]
    values = _joined([Part(f"({row.sql})", row.slots) for row in rows])
    return Part(f"{_insert_into(log.model, connections[alias])} VALUES {values.sql}", values.slots)


# Their parts


def _row(model: type[models.Model], shape: Shape, connection: BaseDatabaseWrapper, *, typed: bool = False) -> Part:
    """Return the values of a row. With *typed*, cast them, because a SELECT does not know their types."""
    parts = []
    for name, value in shape:
        field = _field(model, name)
        part = _value(model, field, value, connection)
        parts.append(Part(f"{part.sql}::{field.cast_db_type(connection)}", part.slots) if typed else part)
    return _joined(parts)


def _condition(model: type[models.Model], name: str, wanted: Any, connection: BaseDatabaseWrapper) -> Part:
    field = _field(model, name)
    column = _columns(connection, [field])
    if name != "id" and connection.vendor == "postgresql" and isinstance(field, models.CharField):
        # Without statistics PostgreSQL might use the index on the state; this makes it use the primary key
        column = f"({column} || '')"
    choice = _joined([_value(model, field, value, connection) for value in choice_of(wanted)])
    return Part(f"{column} IN ({choice.sql})", choice.slots)


def _value(model: type[models.Model], field: Any, value: Any, connection: BaseDatabaseWrapper) -> Part:
    """Return the SQL for a value of a shape: a parameter, an expression such as Now(), or a literal."""
    if value is PARAMETER:
        return Part("%s", ((field, None),))
    if hasattr(value, "resolve_expression"):
        query = Query(model)
        compiler = query.get_compiler(connection=connection)
        sql, own = compiler.compile(value.resolve_expression(query, allow_joins=False, for_save=True))
        return Part(sql, tuple((None, one) for one in own))
    literal = literal_of(value)
    if literal is None:
        raise ValueError(f"{value!r} is neither a literal nor an expression: pass it as a parameter")
    return Part(literal)


def _joined(parts: Sequence[Part], separator: str = ", ") -> Part:
    return Part(separator.join(part.sql for part in parts), tuple(slot for part in parts for slot in part.slots))


def _insert_into(model: type[models.Model], connection: BaseDatabaseWrapper) -> str:
    columns = _columns(connection, (_field(model, name) for name in _logged(model)))
    return f"INSERT INTO {_table(model, connection)} ({columns})"


@lru_cache
def _logged(model: type[models.Model]) -> dict[str, bool]:
    """Return the columns except the primary key, which the database fills in, and whether each is JSON."""
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    return {field.attname: isinstance(field, models.JSONField) for field in fields}


def _columns(connection: BaseDatabaseWrapper, fields: Iterable[Any]) -> str:
    return ", ".join(connection.ops.quote_name(field.column) for field in fields)


def _table(model: type[models.Model], connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)
