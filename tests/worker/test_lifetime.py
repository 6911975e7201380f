"""How long a work-horse lives."""

import pytest

from numflow_django.execution.timeout import InterruptedCalls
from numflow_django.worker import lifetime as module
from numflow_django.worker.lifetime import MAX_GROWTH, MAX_RUNS, MAX_SECONDS, Lifetime

pytestmark = pytest.mark.usefixtures("stopped")


@pytest.fixture
def facts(monkeypatch):
    """The clock, and the memory of the process, which the test sets."""
    facts = {"seconds": 0.0, "bytes": 0}
    monkeypatch.setattr(module, "monotonic", lambda: facts["seconds"])
    monkeypatch.setattr(module, "_size", lambda: facts["bytes"])
    monkeypatch.setattr(InterruptedCalls, "count", 0)
    return facts


def test_a_number_of_runs(facts):
    """A work-horse is replaced after MAX_RUNS runs, and not before."""
    lifetime = Lifetime()

    for _ in range(MAX_RUNS - 1):
        lifetime.count_run()
    before = lifetime.is_over
    lifetime.count_run()

    assert (before, lifetime.is_over) == (False, True)


@pytest.mark.parametrize(("fact", "most"), [("seconds", MAX_SECONDS), ("bytes", MAX_GROWTH)])
def test_a_limit(facts, fact, most):
    """A work-horse is replaced when it has exceeded its time, or the memory that it may grow by."""
    facts[fact] = 7  # what it begins with does not count
    lifetime = Lifetime()

    facts[fact] = 7 + most
    at_the_limit = lifetime.is_over
    facts[fact] += 1

    assert (at_the_limit, lifetime.is_over) == (False, True)


def test_a_stop(facts, stopped):
    """A work-horse that was asked to stop begins no other run."""
    lifetime = Lifetime()

    stopped.requested = True

    assert lifetime.is_over


def test_an_interrupted_call(facts):
    """A work-horse is replaced after a task exceeded its time limit, because its code may have left any state."""
    lifetime = Lifetime()

    InterruptedCalls.count = 1

    assert lifetime.is_over
