"""``manage.py numflow_relay``: the relay without a worker."""

from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError

from numflow_django.db.timestamps import Now
from numflow_django.execution.relay import Relay
from numflow_django.management.commands import numflow_relay as command
from numflow_django.models import RunState
from tests.support.relaying import LONG_AGO, enqueued, numbers, run_row

pytestmark = pytest.mark.django_db


def test_the_command_checks_everything_once(server):
    """``numflow_relay --once`` checks everything and prints what it has done."""
    run_row(RunState.RUNNING, lease_expires_at=Now() - timedelta(seconds=1))
    run_row(ago=LONG_AGO)
    taken = enqueued(run_row(ago=LONG_AGO))
    server.lpop("rq:queue:default")
    Relay().tick(seconds=0)
    output = StringIO()

    call_command("numflow_relay", "--once", stdout=output)

    assert output.getvalue() == "recovered 1, lost in Redis 2, dispatched 3\n"
    assert numbers(taken) == [(RunState.QUEUED, 2)]


@pytest.mark.parametrize("error", [OperationalError("down"), InterfaceError("closed")], ids=repr)
def test_the_command_survives_a_database_that_is_down(monkeypatch, caplog, error):
    """A tick that fails because of the database is logged, and the command goes on with the next one."""
    ticks = []

    def fail(self):
        ticks.append(self)
        raise error

    monkeypatch.setattr(Relay, "tick", fail)
    monkeypatch.setattr(command, "close_connections", lambda: None)
    stop = SimpleNamespace(is_set=lambda: len(ticks) == 2, wait=lambda seconds: None, set=None)
    monkeypatch.setattr(command, "threading", SimpleNamespace(Event=lambda: stop))
    monkeypatch.setattr(command.signal, "signal", lambda signum, handler: None)

    call_command("numflow_relay")

    assert caplog.messages == [f"relay failed error={error!r}; trying again in 10.0 s"] * 2
