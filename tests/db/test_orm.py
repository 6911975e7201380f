"""A database that we have no SQL of our own for: what a site's runs go through, in Django's ORM alone."""

from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.models import F
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from numflow_django.context import Context
from numflow_django.db import sql
from numflow_django.db.timestamps import Now
from numflow_django.exceptions import ClaimLost
from numflow_django.models import CLAIMED_IN_BATCH, ExecutionState, FeatureRun, RunState, TaskExecution
from tests.support.running import run_through, states
from tests.test_state_machine import Life

pytestmark = pytest.mark.django_db(transaction=True)

#: The tests' real database.
VENDOR = connection.vendor

FACTS = {"feature": "market.buy", "queue": "default", "task_names": ["mail", "notify"]}


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Let the tests' database be one that the package has never heard of, and refuse SQL of our own."""
    monkeypatch.setitem(vars(connections["default"]), "vendor", "unheard_of")
    for statement in ("insertion", "claim", "update", "advance_at_once", "log_rows"):
        monkeypatch.delattr(sql, statement)


def opened():
    return FeatureRun.objects.create_run(wait=0, **FACTS)


def claimed():
    return FeatureRun.objects.claim(opened().pk, 1, worker="w1")


def execution(run, state=ExecutionState.SUCCEEDED):
    return TaskExecution(run=run, name="mail", position=0, token=run.token, state=state)


def test_a_run_is_inserted(django_assert_num_queries):
    """A new run is one INSERT; what the caller passed is known, and what the database filled in is read later."""
    with django_assert_num_queries(1):
        run = opened()
        assert (run.state, run.dispatch_no, run.task_names) == (RunState.QUEUED, 1, ["mail", "notify"])

    row = FeatureRun.objects.get()
    assert (run.queued_at, run.created_at) == (row.queued_at, row.created_at)
    assert None not in (row.queued_at, row.created_at)


def test_a_run_is_claimed_once():
    """Of two claims of one run the first gets it, with all that a claim sets."""
    run = opened()

    first, second = [FeatureRun.objects.claim(run.pk, 1, worker=worker) for worker in ("w1", "w2")]

    row = FeatureRun.objects.get()
    assert second is None
    assert (first.state, first.token, first.worker) == (row.state, row.token, row.worker) == (RunState.RUNNING, 1, "w1")
    assert first.claim_id == row.claim_id
    assert first.started_at == row.started_at is not None


def test_runs_are_claimed_together():
    """Of several runs those are claimed that are queued and were never claimed before."""
    runs = [opened() for _ in range(3)]
    FeatureRun.objects.claim(runs[0].pk, 1, worker="w1")

    batch = FeatureRun.objects.claim_batch([run.pk for run in runs], 1, worker="w2")

    assert {run.pk for run in batch} == {run.pk for run in runs[1:]}
    assert {(run.state, run.worker, run.reason) for run in batch} == {(RunState.RUNNING, "w2", CLAIMED_IN_BATCH)}


def test_a_checkpoint_writes_row_and_log_together():
    """A checkpoint writes the run's row and its executions, and neither of them if the log cannot be written."""
    run = claimed()
    broken = execution(run)
    broken.name = None

    with pytest.raises(Exception, match=r"(?i)null"):
        run.checkpoint([broken])
    before = FeatureRun.objects.get().position, TaskExecution.objects.count()
    run.remember(run.checkpoint([execution(run)]))

    assert before == (0, 0)
    assert (FeatureRun.objects.get().position, TaskExecution.objects.count()) == (1, 1)


def test_a_stale_worker_writes_nothing():
    """A worker whose claim is outdated gets ClaimLost, and neither row nor log has changed."""
    run = claimed()
    FeatureRun.objects.update(state=RunState.QUEUED, dispatch_no=2)
    FeatureRun.objects.claim(run.pk, 2, worker="w2")

    with pytest.raises(ClaimLost):
        run.checkpoint([execution(run)], end=RunState.SUCCEEDED)

    assert (FeatureRun.objects.get().worker, TaskExecution.objects.count()) == ("w2", 0)


def test_the_run_of_a_dead_worker_is_recovered():
    """A run whose lease has expired is pending again, with the lost execution in its log."""
    run = claimed()
    FeatureRun.objects.update(lease_expires_at=Now(-5.0))

    lost = run.recover(
        [execution(run, ExecutionState.LOST)], settled=0, end=None, reason="resuming", only_if_expired=True
    )

    assert lost is True
    assert FeatureRun.objects.get().state == RunState.PENDING
    assert TaskExecution.objects.get().state == ExecutionState.LOST


def test_the_clock_goes_forward_and_back():
    """A time that is so many seconds ahead of the database's clock, or behind it, is written as that."""
    run = opened()

    FeatureRun.objects.update(available_at=Now(90.5), queued_at=Now(-90.5))

    run.reread()
    assert run.available_at - run.queued_at == pytest.approx(timedelta(seconds=181), abs=timedelta(seconds=1))
    [wait] = FeatureRun.objects.annotate(wait=F("available_at") - Now(3600.0)).values_list("wait", flat=True)
    assert wait < timedelta(minutes=-50)


def test_oracle_keeps_its_own_clock(monkeypatch):
    """On Oracle a time that is some seconds ahead is Django's LOCALTIMESTAMP plus an interval."""
    monkeypatch.setitem(vars(connections["default"]), "vendor", "oracle")

    statements = [str(FeatureRun.objects.values(clock=Now(seconds)).query) for seconds in (0, 5.0)]

    assert all("LOCALTIMESTAMP" in statement for statement in statements)
    assert statements[0] != statements[1]


def test_a_run_goes_through_all_its_tasks(feature):
    """A worker executes the tasks of a run: one fails and is logged, one is in a transaction, the run ends."""
    shop = feature(mail="raise ValueError('no')", notify="ctx.sent = True\nreturn {'sent': True}")

    run = run_through(shop, Context())

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert (run.state, run.log.last().result) == (RunState.FAILED, {"sent": True})


@pytest.mark.timeout(300)
def test_the_life_of_a_run(monkeypatch):
    """In whatever order things happen, the ORM's statements take a run through the state diagram as our own do."""
    # The columns' defaults were made by the real database's clock, and the life of a run compares with them
    monkeypatch.setattr(Now, "as_unheard_of", getattr(Now, f"as_{VENDOR}"), raising=False)
    with transaction.atomic():
        run_state_machine_as_test(Life, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))


def test_the_test_is_right():
    """The connection does not say which database it is, so that nothing above can have asked."""
    assert connection.vendor == "unheard_of"
