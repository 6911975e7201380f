"""Runs that are claimed together: which runs qualify, and what happens to those that do not begin."""

from uuid import uuid4

import pytest

from numflow_django.discovery.registry import registry
from numflow_django.execution import batch_claim as module
from numflow_django.execution.batch_claim import BatchClaim
from numflow_django.execution.lease import Lease
from numflow_django.execution.recovery import record_loss
from numflow_django.models import CLAIMED_IN_BATCH, FeatureRun, RunState
from tests.e2e.processes import own_database
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def rung(enqueued):
    """The jobs that are enqueued again: (run id, dispatch number)."""
    return enqueued.jobs


def rows(number, alias="default", **facts):
    facts = {"feature": "market.buy", "queue": "default", "state": RunState.QUEUED, "dispatch_no": 1} | facts
    return [FeatureRun.objects.using(alias).create(task_names=["one"], **facts) for _ in range(number)]


def announced_jobs(runs):
    return [(run.pk, run.dispatch_no) for run in runs]


@pytest.mark.django_db
def test_runs_are_claimed_together():
    """Several runs are claimed at once with one claim id and kept leases, and begin one by one."""
    runs = rows(3)

    with BatchClaim(announced_jobs(runs), worker="w1") as ahead:
        held = [ahead.take(run.pk) for run in runs]
        leases = {run.pk for run in held if Lease.keeper().held.pop(run.pk)}

    assert [(run.state, run.token, run.worker, run.reason) for run in held] == [
        (RunState.RUNNING, 1, "w1", CLAIMED_IN_BATCH)
    ] * 3
    assert leases == {run.pk for run in runs}
    assert len({run.claim_id for run in held}) == 1
    assert FeatureRun.objects.filter(state=RunState.RUNNING).count() == 3


@pytest.mark.django_db
def test_one_run_alone_is_not_claimed_ahead():
    """A single job is claimed when it begins, as usual."""
    runs = rows(1)

    with BatchClaim(announced_jobs(runs), worker="w1") as ahead:
        assert ahead.claimed == set()

    assert FeatureRun.objects.get().token == 0


@pytest.mark.django_db
def test_who_is_not_claimed_ahead():
    """A run that was claimed before, is gone, or was enqueued again meanwhile is left to a claim of its own."""
    fresh, before, again = rows(1), rows(1, token=1), rows(1, dispatch_no=2)
    announced = [*announced_jobs(fresh), *announced_jobs(before), (again[0].pk, 1), (uuid4(), 1)]

    with BatchClaim(announced, worker="w1") as ahead:
        assert ahead.claimed == {fresh[0].pk}

    assert not Lease.keeper().held


@pytest.mark.django_db
def test_what_is_left_is_given_back(rung):
    """Runs that did not begin are pending and enqueued again, without a lost execution."""
    runs = rows(3)

    with BatchClaim(announced_jobs(runs), worker="w1") as ahead:
        begun = ahead.take(runs[0].pk)
        Lease.keeper().held.pop(begun.pk)

    given_back = FeatureRun.objects.exclude(pk=begun.pk)
    assert sorted(rung) == sorted((run.pk, 2) for run in runs[1:])
    assert [(run.state, run.dispatch_no, run.log.count()) for run in given_back] == [(RunState.QUEUED, 2, 0)] * 2
    assert not Lease.keeper().held.keys() & {run.pk for run in runs[1:]}


def test_a_task_that_takes_long_keeps_nobody_waiting(monkeypatch, rung, tmp_path, django_db_blocker):
    """While a run takes long, the runs after it are released to other workers."""
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    with django_db_blocker.unblock(), own_database("ahead", tmp_path):
        monkeypatch.setattr(registry, "databases", lambda: iter(["ahead"]))
        runs = rows(3, "ahead")
        with BatchClaim(announced_jobs(runs), worker="w1") as ahead:
            long = ahead.take(runs[0].pk)
            eventually(lambda: len(rung) == 2, message="They were not given back")
            late = [ahead.take(run.pk) for run in runs[1:]]
        Lease.keeper().held.pop(long.pk)
        long.reread()

    assert late == [None, None]
    assert long.state == RunState.RUNNING


@pytest.mark.django_db
def test_a_holder_that_fell_silent_leaves_no_mark(rung):
    """A run whose worker died after a batch claim has not crashed, and is not claimed in a batch again."""
    runs = rows(2)
    FeatureRun.objects.claim_batch([run.pk for run in runs], 1, worker="w1")
    FeatureRun.objects.update(lease_expires_at="2001-01-01T00:00Z")
    first = FeatureRun.objects.get(pk=runs[0].pk)

    assert record_loss(first, "the lease of worker w1 ran out", expired=True)

    first.refresh_from_db()
    assert (first.state, first.token, first.log.count()) == (RunState.PENDING, 1, 0)
    assert first.reason == "not begun: the lease of worker w1 ran out"
    assert FeatureRun.objects.claim_batch([first.pk], 1, worker="w2") == []
