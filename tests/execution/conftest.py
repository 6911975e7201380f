"""Relays, and the time that they see."""

from types import SimpleNamespace

import pytest

from numflow_django.broker import marks
from numflow_django.execution import missing_jobs, pages, relay, unserved
from numflow_django.execution.relay import Relay


@pytest.fixture
def clock(monkeypatch):
    """The relay's clock, set by hand."""
    clock = SimpleNamespace(now=1000.0)
    for module in (relay, missing_jobs, pages, unserved):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def relay_at_work(server, clock):
    """A relay that has just checked everything, in a Redis that it has marked."""
    for queue in ("default", "mail"):
        marks.set_mark(queue)
    at_work = Relay()
    for alias in ("default", "other"):
        for queue in ("default", "mail"):
            at_work.missing_jobs.checks[alias, queue] = check = missing_jobs.LastCheck()
            check.record(everything=True)
    return at_work


@pytest.fixture
def two_databases(monkeypatch):
    """Features in both databases."""
    monkeypatch.setattr(relay.registry, "databases", lambda: iter(["default", "other"]))
