"""Runs that are claimed together: which runs qualify, and what happens to those that do not begin."""

from threading import Thread
from uuid import uuid4

import pytest

from numflow_django.discovery.registry import registry
from numflow_django.execution import batch_claim as module
from numflow_django.execution.batch_claim import RELEASE_AFTER_SECONDS, BatchClaim
from numflow_django.execution.lease_renewal import LeaseRenewer
from numflow_django.execution.recovery import record_loss
from numflow_django.models import CLAIMED_IN_BATCH, FeatureRun, RunState
from tests.e2e.processes import own_database


class ManualTimer:
    """A timer whose time is up when the test says so."""

    made = []

    def __init__(self, interval, function):
        self.interval = interval
        self.function = function
        self.calls = []
        self.made.append(self)

    def start(self):
        self.calls.append("start")

    def cancel(self):
        self.calls.append("cancel")

    def go_off(self):
        """Call the function in a thread, as a timer does, and wait for its end."""
        thread = Thread(target=self.function)
        thread.start()
        thread.join()


@pytest.fixture(autouse=True)
def timers(monkeypatch):
    """The timers of the batch claims in this test."""
    monkeypatch.setattr(ManualTimer, "made", [])
    monkeypatch.setattr(module, "Timer", ManualTimer)
    return ManualTimer.made


@pytest.fixture(autouse=True)
def enqueued_jobs(enqueued):
    """The jobs that are enqueued again: (run id, dispatch number)."""
    return enqueued.jobs


@pytest.fixture
def renewer():
    """A renewer of this test only."""
    renewer = LeaseRenewer()
    yield renewer
    renewer.close()


@pytest.fixture
def claim(renewer):
    """Claim these runs together; extra dispatches may follow."""

    def claim(runs, *more):
        dispatches = [(run.pk, run.dispatch_no) for run in runs]
        return BatchClaim([*dispatches, *more], worker="w1", renewer=renewer)

    return claim


def rows(number, alias="default", **facts):
    facts = {"feature": "market.buy", "queue": "default", "state": RunState.QUEUED, "dispatch_no": 1} | facts
    return [FeatureRun.objects.using(alias).create(task_names=["one"], **facts) for _ in range(number)]


@pytest.mark.django_db
def test_runs_are_claimed_together(claim, renewer):
    """Several runs are claimed at once with one claim id and kept leases, and begin one by one."""
    runs = rows(3)

    with claim(runs) as batch:
        begun = [batch.take(run.pk) for run in runs]

    assert [(run.pk, run.state, run.token, run.worker, run.reason) for run in begun] == [
        (run.pk, RunState.RUNNING, 1, "w1", CLAIMED_IN_BATCH) for run in runs
    ]
    assert renewer.held == {run.pk for run in runs}
    assert len({run.claim_id for run in begun}) == 1
    assert FeatureRun.objects.filter(state=RunState.RUNNING).count() == 3


@pytest.mark.django_db
def test_one_run_alone_is_not_claimed_in_a_batch(claim, timers):
    """A single job is claimed when it begins, as usual."""
    with claim(rows(1)) as batch:
        assert batch.claimed == set()

    assert FeatureRun.objects.get().token == 0
    assert timers == []


@pytest.mark.django_db
def test_which_runs_are_not_claimed_in_a_batch(claim, renewer):
    """A run that was claimed before, is gone, or was enqueued again meanwhile is left to a claim of its own."""
    fresh, before, again = rows(1), rows(1, token=1), rows(1, dispatch_no=2)

    with claim([*fresh, *before], (again[0].pk, 1), (uuid4(), 1)) as batch:
        assert batch.claimed == {fresh[0].pk}

    assert renewer.held == set()


@pytest.mark.django_db
def test_runs_that_did_not_begin_are_released(claim, renewer, enqueued_jobs, timers):
    """Runs that did not begin are pending and enqueued again, without a lost execution."""
    runs = rows(3)

    with claim(runs) as batch:
        begun = batch.take(runs[0].pk)

    released = FeatureRun.objects.exclude(pk=begun.pk)
    assert sorted(enqueued_jobs) == sorted((run.pk, 2) for run in runs[1:])
    assert [(run.state, run.dispatch_no, run.log.count()) for run in released] == [(RunState.QUEUED, 2, 0)] * 2
    assert renewer.held == {begun.pk}
    assert timers[0].calls == ["start", "cancel"]


@pytest.mark.django_db
def test_a_run_that_another_worker_has_taken_over_is_left_alone(claim, renewer, enqueued_jobs, caplog):
    """A run of the batch that another worker claimed meanwhile is not released, and the others are."""
    runs = rows(3)

    with claim(runs):
        FeatureRun.objects.filter(pk=runs[1].pk).update(claim_id=uuid4())

    assert sorted(enqueued_jobs) == sorted((run.pk, 2) for run in (runs[0], runs[2]))
    assert FeatureRun.objects.get(pk=runs[1].pk).state == RunState.RUNNING
    assert renewer.held == set()
    assert f"run not released run={runs[1].pk}" in caplog.text


def test_a_long_task_does_not_delay_the_runs_after_it(
    claim, renewer, monkeypatch, enqueued_jobs, timers, tmp_path, django_db_blocker
):
    """While a run takes long, the runs after it are released to other workers once RELEASE_AFTER_SECONDS is over."""
    with django_db_blocker.unblock(), own_database("ahead", tmp_path):
        monkeypatch.setattr(registry, "databases", lambda: iter(["ahead"]))
        runs = rows(3, "ahead")
        with claim(runs) as batch:
            long = batch.take(runs[0].pk)
            timers[0].go_off()
            released = sorted(enqueued_jobs)
            late = [batch.take(run.pk) for run in runs[1:]]
        long.reread()

    assert (timers[0].interval, timers[0].calls[0]) == (RELEASE_AFTER_SECONDS, "start")
    assert released == sorted((run.pk, 2) for run in runs[1:])
    assert late == [None, None]
    assert long.state == RunState.RUNNING
    assert renewer.held == {long.pk}
    assert sorted(enqueued_jobs) == released


@pytest.mark.django_db
def test_a_claim_in_a_batch_whose_lease_expires_is_no_crash():
    """A run whose worker died after a batch claim has not crashed, and is not claimed in a batch again."""
    runs = rows(2)
    FeatureRun.objects.claim_batch([run.pk for run in runs], 1, worker="w1")
    FeatureRun.objects.update(lease_expires_at="2001-01-01T00:00Z")
    first = FeatureRun.objects.get(pk=runs[0].pk)

    assert record_loss(first, "the lease of worker w1 ran out", only_if_expired=True)

    first.refresh_from_db()
    assert (first.state, first.token, first.log.count()) == (RunState.PENDING, 1, 0)
    assert first.reason == "not begun: the lease of worker w1 ran out"
    assert FeatureRun.objects.claim_batch([first.pk], 1, worker="w2") == []
