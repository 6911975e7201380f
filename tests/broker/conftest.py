"""The time of the pauses."""

from types import SimpleNamespace

import pytest

from numflow_django.broker import pauses


@pytest.fixture
def clock(monkeypatch):
    """The time of the pauses, set by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(pauses, "monotonic", lambda: clock.now)
    return clock
