"""The statements of a run's normal path in Django's ORM alone, for a database that we have no SQL of our own for."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django.db import models, transaction

M = TypeVar("M", bound=models.Model)


def insert(rows: models.QuerySet[M], values: Mapping[str, Any]) -> M:
    """Insert a row and return it. Fields that the database fills in are read at their first use."""
    row = rows.create(**values)
    for name, value in list(vars(row).items()):
        if hasattr(value, "resolve_expression"):
            delattr(row, name)  # Django reads an attribute that is missing from the row
    return row


def claim(rows: models.QuerySet[M], guard: Mapping[str, Any], changes: Mapping[str, Any]) -> list[M]:
    """Change the rows that match *guard* and return them, in no fixed order."""
    if not rows.filter(_matches(guard)).update(**changes):
        return []
    return list(rows.filter(_matches({"id": guard["id"], "claim_id": changes["claim_id"]})))


def advance(
    run: models.Model, guard: Mapping[str, Any], changes: Mapping[str, Any], executions: Sequence[models.Model]
) -> bool:
    """Change the row of *run* and write *executions*, both or neither. Return whether the row matched *guard*."""
    alias = run._state.db
    with transaction.atomic(using=alias, savepoint=False):
        is_moved = bool(_rows_like(run, alias).filter(_matches(guard)).update(**changes))
        if is_moved and executions:
            _rows_like(executions[0], alias).bulk_create(executions)
    return is_moved


def _rows_like(row: models.Model, alias: str | None) -> models.QuerySet[models.Model]:
    return type(row)._base_manager.using(alias)


def _matches(guard: Mapping[str, Any]) -> models.Q:
    """Return the condition of *guard*, in which a tuple stands for any of its values."""
    conditions = {f"{name}__in" if isinstance(value, tuple) else name: value for name, value in guard.items()}
    return models.Q(**conditions)
