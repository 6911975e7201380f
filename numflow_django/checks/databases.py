"""System checks of the databases that hold runs: their configuration, and whether our tables exist."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's name
from django.db import Error as DatabaseError
from django.db import connections, router
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from ..conf import conf
from ..db.locks import sqlite_without_immediate
from ..discovery.registry import Feature, load_routes, registry
from ..models import FeatureRun, TaskExecution
from ..text.suggestions import listed

MODELS = (FeatureRun, TaskExecution)


@register("numflow")
def check_sqlite(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W204: SQLite fails a transaction that reads and then writes while another one writes."""
    for alias in sqlite_without_immediate():
        if alias in registry.databases():
            yield Warning(
                f"DATABASES[{alias!r}] is SQLite without transaction_mode: requests at the same time would fail with "
                '"database is locked".',
                hint='Set "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}; WAL mode is good, too.',
                id="numflow.W204",
            )


@register("numflow")
def check_routers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E007: a router keeps our tables out of a database that holds runs."""
    for alias, labels in _databases_of(lambda feature: bool(feature.tasks)):
        blocking = _blocking_router(alias)
        if blocking:
            yield Error(
                f"{blocking} keeps the tables of numflow_django out of DATABASES[{alias!r}], which holds the runs of "
                f"{labels}.",
                hint=f"{_how_to_allow(alias)}. If migrate finds nothing to do, manage.py check --database {alias} says "
                "why.",
                id="numflow.E007",
            )


@register("numflow")
def check_rollback_log(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W210: a router keeps the log of rolled-back requests out of the database of their feature."""
    for alias, labels in _databases_of(lambda feature: conf.LOG_ROLLBACKS is not None and feature.atomic):
        blocking = None if alias in registry.databases() else _blocking_router(alias)  # otherwise E007 reports it
        if blocking:
            yield Warning(
                f"{blocking} keeps the tables of numflow_django out of DATABASES[{alias!r}]: rolled-back requests of "
                f"{labels} leave no row.",
                hint=f'{_how_to_allow(alias)}. Or set atomic = False, or NUMFLOW["LOG_ROLLBACKS"] = None.',
                id="numflow.W210",
            )


@register(Tags.database)
def check_tables(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> Iterator[CheckMessage]:
    """numflow.W211: our tables are missing in a database that holds runs. Runs with ``--database`` only."""
    asked = [alias for alias in registry.databases() if alias in (databases or ())]
    for alias in (alias for alias in asked if not _blocking_router(alias)):  # otherwise E007 reports it
        is_missing, is_recorded = _read_tables(alias)
        # migrate is about to create them
        if is_missing and (is_recorded or sys.argv[1:2] != ["migrate"]):
            yield Warning(
                f"The tables of numflow_django are missing in DATABASES[{alias!r}].",
                hint=_how_to_migrate(alias, is_recorded=is_recorded),
                id="numflow.W211",
            )


def _read_tables(alias: str) -> tuple[bool, bool]:
    """Return whether one of our tables is missing, and whether Django has recorded their migrations."""
    connection = connections[alias]
    try:
        tables = connection.introspection.table_names()
        recorded = MigrationRecorder(connection).applied_migrations()
    except DatabaseError:
        return False, False  # an unreachable database is not a mistake in the settings
    return any(model._meta.db_table not in tables for model in MODELS), ("numflow_django", "0001_initial") in recorded


def _databases_of(is_meant: Callable[[Feature], bool]) -> Iterator[tuple[str, str]]:
    """Yield the alias of each database that features with *is_meant* use, and their labels, for a message."""
    load_routes()
    for alias in conf.usable_databases:
        labels = [feature.label for feature in registry if feature.using == alias and is_meant(feature)]
        if labels:
            yield alias, listed(labels)


def _how_to_migrate(alias: str, *, is_recorded: bool) -> str:
    migrate = f"manage.py migrate --database {alias}"
    if not is_recorded:
        return f"Run {migrate}."
    return (
        "Django has recorded our migrations there without creating the tables, as it does while a router keeps them "
        f"out. Run {migrate} --fake numflow_django zero, then {migrate}."
    )


def _how_to_allow(alias: str) -> str:
    return (
        f"Let its allow_migrate() return True for {alias!r} and 'numflow_django', and run manage.py migrate --database "
        f"{alias}"
    )


def _blocking_router(alias: str) -> str | None:
    """Return the router that keeps one of our tables out of the database *alias*, if one does."""
    for model in MODELS:
        if not router.allow_migrate_model(alias, model):
            blocking = next(each for each in router.routers if _decides(each, alias, model))
            return f"{type(blocking).__module__}.{type(blocking).__qualname__}"
    return None


def _decides(each: Any, alias: str, model: type[Model]) -> bool:
    # As in Django, the first router that does not return None decides
    allow = getattr(each, "allow_migrate", None)
    names = {"model_name": model._meta.model_name, "model": model}
    return allow is not None and allow(alias, model._meta.app_label, **names) is not None
