"""When a worker runs the relay."""

import logging

import pytest

from numflow_django.execution.relay import Relay
from numflow_django.worker import relay_clock as module
from numflow_django.worker.relay_clock import RelayClock


@pytest.fixture
def seconds(monkeypatch, settings):
    """The clock, which the test sets; a tick is due every 5 seconds."""
    settings.NUMFLOW = {"RELAY_SECONDS": 5}
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def calls(monkeypatch, seconds):
    """What was called, in order."""
    calls = []
    monkeypatch.setattr(Relay, "tick", lambda self: calls.append("tick"))
    return calls


@pytest.fixture
def clock(calls):
    return RelayClock("w1", prepare=lambda: calls.append("prepare"))


def test_the_first_tick_is_due_at_once(clock):
    """A worker that has just started runs the relay."""
    assert clock.is_due


def test_a_tick_is_due_every_relay_seconds(clock, seconds, calls):
    """A tick is prepared and run; the next one is due RELAY_SECONDS later, and not before."""
    clock.tick()
    seconds[0] += 4.9
    before = clock.is_due
    seconds[0] += 0.1

    assert calls == ["prepare", "tick"]
    assert (before, clock.is_due) == (False, True)


def test_a_tick_can_be_made_due(clock):
    """After a loss was recorded, the worker need not wait for the next tick."""
    clock.tick()
    before = clock.is_due

    clock.make_due()

    assert (before, clock.is_due) == (False, True)


@pytest.mark.parametrize("where", ["prepare", "tick"])
def test_an_error_is_logged(calls, monkeypatch, caplog, where):
    """An error of a tick, or of its preparation, does not end the worker, and the tick is over."""
    during = []

    def fail(*args):
        during.append(clock.is_ticking)
        raise OSError("down")

    clock = RelayClock("w1", prepare=fail if where == "prepare" else lambda: None)
    if where == "tick":
        monkeypatch.setattr(Relay, "tick", fail)

    clock.tick()

    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "relay failed worker=w1; trying again in 5.0 s")
    assert (during, clock.is_ticking, clock.is_due) == ([True], False, False)
