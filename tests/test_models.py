"""The transitions of a run, each of which somebody else may have made first."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from numflow_django.exceptions import ClaimLost
from numflow_django.models import ExecutionState, FeatureRun, RunState, TaskExecution
from tests.e2e.processes import own_database

pytestmark = pytest.mark.django_db

CONTENDERS = 8


def run_row(**fields):
    """A run of two tasks whose first doorbell has rung."""
    defaults = {"feature": "market.buy", "queue": "default", "state": RunState.QUEUED, "dispatch_no": 1}
    return FeatureRun.objects.create(**defaults | {"task_names": ["mail", "notify"]} | fields)


def claimed_run(**fields):
    return FeatureRun.objects.claim(run_row(**fields).pk, 1, worker="w1")


def execution(run, position=0, state=ExecutionState.SUCCEEDED):
    name = run.task_names[position]
    return TaskExecution(run=run, name=name, position=position, token=run.token, state=state)


def taken_over(run):
    """Let another worker have the run: its claim ran out, and the next doorbell was answered."""
    FeatureRun.objects.filter(pk=run.pk).update(state=RunState.QUEUED, dispatch_no=2)
    return FeatureRun.objects.claim(run.pk, 2, worker="w2")


# claim


@pytest.fixture
def shared(tmp_path, django_db_blocker):
    """The alias of a database that several threads can open, which a SQLite database in memory is not."""
    with django_db_blocker.unblock(), own_database("shared", tmp_path):
        yield "shared"


@pytest.mark.django_db(databases=[])
def test_one_of_many_claims_wins(shared):
    """Of many workers that answer one doorbell at the same moment, exactly one gets the run."""
    runs = FeatureRun.objects.using(shared)
    row = runs.create(feature="market.buy", queue="default", state=RunState.QUEUED, dispatch_no=1)
    start = Barrier(CONTENDERS)

    def contend(number):
        try:
            connections[shared].ensure_connection()
            start.wait()
            return FeatureRun.objects.using(shared).claim(row.pk, 1, worker=f"w{number}")
        finally:
            connections[shared].close()

    with ThreadPoolExecutor(CONTENDERS) as workers:
        won = [claimed for claimed in workers.map(contend, range(CONTENDERS)) if claimed]

    row.refresh_from_db()
    assert len(won) == 1
    assert (row.token, row.worker, row.claim_id) == (1, won[0].worker, won[0].claim_id)


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.PENDING])
def test_a_claim_takes_the_run(state):
    """A claim turns a queued run, or a pending one whose doorbell rang after all, to running, and says who has it."""
    row = run_row(state=state, reason="Redis was away")

    claimed = FeatureRun.objects.claim(row.pk, 1, worker="w1")

    row.refresh_from_db()
    assert claimed == row
    assert (row.state, row.worker, row.token, row.reason) == (RunState.RUNNING, "w1", 1, "")
    assert row.claim_id == claimed.claim_id is not None
    assert row.started_at is not None


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.QUEUED, RunState.PENDING}))
def test_no_claim_in_any_other_state(state):
    """A run that is running, waits, has ended or was rolled back is not to be had, and stays as it is."""
    row = run_row(state=state)

    claimed = FeatureRun.objects.claim(row.pk, 1, worker="w1")

    row.refresh_from_db()
    assert claimed is None
    assert (row.state, row.token, row.worker, row.claim_id) == (state, 0, "", None)


@pytest.mark.parametrize("dispatch_no", [0, 1, 3])
def test_only_the_last_doorbell_counts(dispatch_no):
    """A doorbell that is not the run's last one is answered by nobody."""
    row = run_row(dispatch_no=2)

    claimed = FeatureRun.objects.claim(row.pk, dispatch_no, worker="w1")

    assert claimed is None
    assert FeatureRun.objects.get().state == RunState.QUEUED


def test_no_claim_on_an_unknown_run():
    """A doorbell for a run that is not in this database gives None."""
    run_row()

    assert FeatureRun.objects.claim(uuid4(), 1, worker="w1") is None


def test_each_claim_is_a_new_one():
    """With each claim the token grows by one and the claim id is a new one; the first start stays on record."""
    first = claimed_run()
    second = taken_over(first)

    assert (first.token, second.token) == (1, 2)
    assert first.claim_id != second.claim_id
    assert (second.worker, second.started_at) == ("w2", first.started_at)


def test_the_lease_is_set_by_the_clock_of_the_database(settings, monkeypatch):
    """A worker whose clock is wrong gets a lease of LEASE_SECONDS all the same."""
    settings.NUMFLOW = {"LEASE_SECONDS": 90}
    monkeypatch.setattr(timezone, "now", lambda: timezone.datetime(1999, 1, 1, tzinfo=timezone.get_current_timezone()))

    with transaction.atomic():
        claimed = claimed_run()
        left = FeatureRun.objects.annotate(left=F("lease_expires_at") - Now()).get(pk=claimed.pk).left

    assert timedelta(seconds=60) < left <= timedelta(seconds=90)


# checkpoint


def test_a_checkpoint_writes_executions_and_row():
    """A checkpoint moves the row on past its executions and keeps the context, and the run goes on."""
    run = claimed_run()

    run.remember(run.checkpoint([execution(run)], context='{"mailed":true}'))

    row = FeatureRun.objects.get()
    assert (row.position, row.context, row.state) == (1, '{"mailed":true}', RunState.RUNNING)
    assert (run.position, run.context, run.state) == (1, '{"mailed":true}', RunState.RUNNING)
    assert list(row.executions.values_list("name", "position", "token")) == [("mail", 0, 1)]


def test_the_last_checkpoint_ends_the_run():
    """A checkpoint with an end sets state, reason and the time of the end, and gives the lease up."""
    run = claimed_run()

    run.remember(run.checkpoint([execution(run), execution(run, 1)], end=RunState.FAILED, reason="mail failed"))

    row = FeatureRun.objects.get()
    assert (row.state, row.reason, row.position) == (RunState.FAILED, "mail failed", 2)
    assert row.finished_at is not None
    assert row.lease_expires_at is None
    assert (run.state, run.reason, run.position) == (RunState.FAILED, "mail failed", 2)


def test_a_checkpoint_is_remembered_only_when_asked():
    """Until remember() the object stays as it was, because the transaction around the checkpoint may still fail."""
    run = claimed_run()

    changes = run.checkpoint([execution(run)], context="{}", end=RunState.SUCCEEDED)

    assert (run.position, run.state) == (0, RunState.RUNNING)
    run.remember(changes)
    assert (run.position, run.state) == (1, RunState.SUCCEEDED)


LOSSES = {
    "taken over": taken_over,
    "pending again": lambda run: FeatureRun.objects.filter(pk=run.pk).update(state=RunState.PENDING),
    "ended": lambda run: FeatureRun.objects.filter(pk=run.pk).update(state=RunState.CANCELLED),
    "deleted": lambda run: FeatureRun.objects.filter(pk=run.pk).delete(),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_stale_holder_writes_nothing(lose):
    """A checkpoint of a worker whose claim is outdated raises ClaimLost; neither row nor task log has a trace of it."""
    run = claimed_run()
    lose(run)
    before = FeatureRun.objects.values().first()

    with pytest.raises(ClaimLost, match=f"run {run.pk}: somebody else has taken it over") as error:
        run.checkpoint([execution(run)], context='{"stale":1}', end=RunState.SUCCEEDED)

    assert "this worker stops and writes nothing" in str(error.value)
    assert FeatureRun.objects.values().first() == before
    assert not TaskExecution.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_row_and_executions_are_written_together():
    """If the executions cannot be written, the row has not moved either."""
    run = claimed_run()
    broken = execution(run)
    broken.name = None

    with pytest.raises(Exception, match=r"(?i)null"):
        run.checkpoint([broken], end=RunState.SUCCEEDED)

    row = FeatureRun.objects.get()
    assert (row.position, row.state) == (0, RunState.RUNNING)


# release


def test_a_release_gives_the_run_back():
    """A released run is pending with a reason, without a lease, where it was."""
    run = claimed_run(position=1)

    run.release("unknown feature market.buy")

    row = FeatureRun.objects.get()
    assert (row.state, row.reason, row.position) == (RunState.PENDING, "unknown feature market.buy", 1)
    assert (row.lease_expires_at, row.queued_at) == (None, None)
    assert (run.state, run.reason) == (row.state, row.reason)


def test_a_stale_holder_releases_nothing():
    """A worker whose claim is outdated cannot take the run from the one that has it."""
    run = claimed_run()
    taken_over(run)

    with pytest.raises(ClaimLost, match="somebody else has taken it over"):
        run.release("shutdown")

    row = FeatureRun.objects.get()
    assert (row.state, row.worker, row.reason) == (RunState.RUNNING, "w2", "")


# undispatched


def test_a_doorbell_that_did_not_ring():
    """A queued run whose doorbell could not be rung is pending again."""
    row = run_row(queued_at=Now())

    assert FeatureRun.objects.undispatched(row.pk, 1) is True

    row.refresh_from_db()
    assert (row.state, row.queued_at, row.dispatch_no) == (RunState.PENDING, None, 1)


@pytest.mark.parametrize("fields", [{"state": RunState.RUNNING}, {"state": RunState.SUCCEEDED}, {"dispatch_no": 2}])
def test_a_doorbell_that_rang_after_all(fields):
    """A run that a worker has, has done, or that was announced again meanwhile, is left alone."""
    row = run_row(**fields)

    assert FeatureRun.objects.undispatched(row.pk, 1) is False

    assert FeatureRun.objects.get().state == row.state


# What a person reads


def test_names():
    """A run is shown as feature and id, an execution as task and attempt."""
    run = run_row()

    assert str(run) == f"market.buy {run.pk}"
    assert str(TaskExecution(run=run, name="mail", attempt=2)) == "mail #2"


@pytest.mark.parametrize(
    ("started", "seconds", "duration"),
    [(True, 2, timedelta(seconds=2)), (True, None, None), (False, None, None)],
    ids=["ended", "not ended", "skipped"],
)
def test_duration(started, seconds, duration):
    """The duration is the time between start and end; a task that never began or did not end has none."""
    now = timezone.now()

    tried = TaskExecution(
        started_at=now if started else None,
        finished_at=now + timedelta(seconds=seconds) if seconds else None,
    )

    assert tried.duration == duration
