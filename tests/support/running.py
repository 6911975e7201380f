"""Tasks from their bodies, runs of them in this process and without RQ, and what has become of those."""

from textwrap import dedent, indent

import pytest
from django.db import connection

from numflow_django.context import Context, freeze
from numflow_django.db.timestamps import Now
from numflow_django.execution import runner
from numflow_django.models import FeatureRun, RunState

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no server to hang up")

PRELUDE = """\
import asyncio, sys, time
from uuid import uuid4
from asgiref.sync import sync_to_async
from django.db import Error, connection, connections, transaction
from django.utils.functional import SimpleLazyObject
from numflow_django import async_task
from numflow_django.db.timestamps import Now
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.alarms import LONG, expire
from ...journal import lines
"""


def task(body, rules="", define="def"):
    """The source of a task, which may use ctx and *lines*, a journal that the test reads; {name} is filled in."""
    decorator = f"@async_task({rules})\n" if rules else ""
    return f"{PRELUDE}\n{decorator}{define} {{name}}(ctx):\n{indent(dedent(body), '    ')}\n"


def queued(feature, ctx=None, /, **fields):
    """A run of *feature* that has been enqueued once."""
    defaults = {"state": RunState.QUEUED, "dispatch_no": 1, "task_names": feature.task_names}
    defaults |= {"feature": feature.label, "queue": feature.queue, "context": freeze(ctx or Context())}
    return FeatureRun.objects.using(feature.using).create(**defaults | fields)


def run_through(feature, ctx=None, /, **fields):
    """Run it as the worker "w1"; give its row."""
    row = queued(feature, ctx, **fields)
    runner.run(row.pk, 1, worker="w1")
    row.refresh_from_db()
    return row


def go_on(row, *, worker="w2"):
    """What becomes of a run that was given back or waits: its time has come, it is announced again, and run."""
    FeatureRun.objects.using(row._state.db).filter(pk=row.pk).update(available_at=Now())
    row.reread()
    assert row.begin_dispatch(), row.state
    runner.run(row.pk, row.dispatch_no, worker=worker)
    row.reread()
    return row


def executions(run):
    return list(run.log)


def states(run):
    return [(execution.name, execution.state) for execution in executions(run)]


def messages(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]
