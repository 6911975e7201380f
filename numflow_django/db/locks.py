"""Ask what a database can lock, and when it does."""

from typing import Any, TypeVar

from django.db import connections, models

from ..conf import conf

Rows = TypeVar("Rows", bound=models.QuerySet[Any])

#: The ends of the ENGINE names of SQLite's backends.
SQLITE_ENGINES = ("sqlite3", "spatialite")

#: Transactions of these modes take SQLite's only write lock at their start.
LOCKING_MODES = ("IMMEDIATE", "EXCLUSIVE")


def skip_locked(rows: Rows) -> Rows:
    """
    Lock *rows* in the open transaction. Return them without those that another transaction has locked.

    Return all of them if the database cannot skip locked rows.
    """
    if not connections[rows.db].features.has_select_for_update_skip_locked:
        return rows
    return rows.filter(pk__in=list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)))


def sqlite_without_immediate() -> list[str]:
    """Return the aliases of SQLite databases in files whose transactions do not take the write lock at their start."""
    return [
        alias
        for alias, config in conf.databases.items()
        if config.get("ENGINE", "").endswith(SQLITE_ENGINES)
        and ":memory:" not in str(config.get("NAME", ""))
        and str(config.get("OPTIONS", {}).get("transaction_mode")).upper() not in LOCKING_MODES
    ]
