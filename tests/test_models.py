"""The state changes of a run; another process may have been first at each of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone

from numflow_django.conf import conf
from numflow_django.db.timestamps import Now
from numflow_django.exceptions import ClaimLost
from numflow_django.models import ExecutionState, FeatureRun, RunState, TaskExecution
from tests.e2e.processes import own_database

pytestmark = pytest.mark.django_db

CONTENDERS = 8


def run_row(**fields):
    """A run of two tasks that was enqueued for the first time."""
    defaults = {"feature": "market.buy", "queue": "default", "state": RunState.QUEUED, "dispatch_no": 1}
    return FeatureRun.objects.create(**defaults | {"task_names": ["mail", "notify"]} | fields)


def claimed_run(**fields):
    return FeatureRun.objects.claim(run_row(**fields).pk, 1, worker="w1")


def execution(run, position=0, state=ExecutionState.SUCCEEDED):
    name = run.task_names[position]
    return TaskExecution(run=run, name=name, position=position, token=run.token, state=state)


def taken_over(run):
    """Let another worker take the run over: the lease expired, and the run was enqueued and claimed again."""
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
    """Of many workers that claim one run at the same moment, exactly one gets it."""
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
    """A claim turns a queued run, or a pending one that was enqueued after all, to running, and names its worker."""
    row = run_row(state=state)

    claimed = FeatureRun.objects.claim(row.pk, 1, worker="w1")

    row.refresh_from_db()
    assert claimed == row
    assert (row.state, row.worker, row.token) == (RunState.RUNNING, "w1", 1)
    assert row.claim_id == claimed.claim_id is not None
    assert row.started_at is not None


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.QUEUED, RunState.PENDING}))
def test_no_claim_in_any_other_state(state):
    """A run that is running, waits, has ended or was rolled back cannot be claimed and stays unchanged."""
    row = run_row(state=state)

    claimed = FeatureRun.objects.claim(row.pk, 1, worker="w1")

    row.refresh_from_db()
    assert claimed is None
    assert (row.state, row.token, row.worker, row.claim_id) == (state, 0, "", None)


@pytest.mark.parametrize("dispatch_no", [0, 1, 3])
def test_only_the_last_dispatch_counts(dispatch_no):
    """Only the last dispatch number of a run can be claimed."""
    row = run_row(dispatch_no=2)

    claimed = FeatureRun.objects.claim(row.pk, dispatch_no, worker="w1")

    assert claimed is None
    assert FeatureRun.objects.get().state == RunState.QUEUED


def test_no_claim_on_an_unknown_run():
    """A claim of a run that is not in this database returns None."""
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
    """A checkpoint advances the row past its executions and stores the context, and the run goes on."""
    run = claimed_run()

    run.remember(run.checkpoint([execution(run)], context='{"mailed":true}'))

    row = FeatureRun.objects.get()
    assert (row.position, row.context, row.state) == (1, '{"mailed":true}', RunState.RUNNING)
    assert (run.position, run.context, run.state) == (1, '{"mailed":true}', RunState.RUNNING)
    assert list(row.executions.values_list("name", "position", "token")) == [("mail", 0, 1)]


def test_the_last_checkpoint_ends_the_run():
    """A checkpoint with an end sets state, reason and the time of the end, and clears the lease."""
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

    with pytest.raises(ClaimLost, match=f"run {run.pk}: another process has taken it over") as error:
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


def test_a_released_run_is_pending():
    """A released run is pending with a reason, without a lease, at the same task."""
    run = claimed_run(position=1)

    run.remember(run.release("handed over"))

    row = FeatureRun.objects.get()
    assert (row.state, row.reason, row.position) == (RunState.PENDING, "handed over", 1)
    assert (row.lease_expires_at, row.queued_at) == (None, None)
    assert (run.state, run.reason) == (row.state, row.reason)


def test_a_stale_holder_releases_nothing():
    """A worker whose claim is outdated cannot release the run of the worker that holds it."""
    run = claimed_run()
    taken_over(run)

    with pytest.raises(ClaimLost, match="another process has taken it over"):
        run.release("shutdown")

    row = FeatureRun.objects.get()
    assert (row.state, row.worker, row.reason) == (RunState.RUNNING, "w2", "")


# begin_dispatch, undispatch


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.WAITING])
def test_a_due_run_is_queued(state):
    """A pending or waiting run that is due is queued under the next number, by the first process that tries."""
    row = run_row(state=state, available_at=Now())
    first, second = FeatureRun.objects.get(), FeatureRun.objects.get()

    begun = first.begin_dispatch(), second.begin_dispatch()

    row.refresh_from_db()
    assert begun == (True, False)
    assert (row.state, row.dispatch_no, first.dispatch_no) == (RunState.QUEUED, 2, 2)
    assert row.queued_at is not None


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.PENDING, RunState.WAITING}))
def test_no_other_run_is_queued(state):
    """A run in any other state is not enqueued and stays unchanged."""
    row = run_row(state=state, available_at=Now())

    assert row.begin_dispatch() is False
    assert list(FeatureRun.objects.values_list("state", "dispatch_no")) == [(state, 1)]


def test_a_run_is_not_queued_before_it_is_due():
    """A run that waits is not dispatched before it is due."""
    row = run_row(state=RunState.WAITING, available_at=Now() + timedelta(minutes=1))

    assert row.begin_dispatch() is False
    assert FeatureRun.objects.get().state == RunState.WAITING


def test_a_run_that_was_not_enqueued_is_pending():
    """A queued run that could not be enqueued is pending again."""
    row = run_row(queued_at=Now())

    assert row.undispatch() is True
    assert (row.state, row.queued_at) == (RunState.PENDING, None)

    row.refresh_from_db()
    assert (row.state, row.queued_at, row.dispatch_no) == (RunState.PENDING, None, 1)


@pytest.mark.parametrize("fields", [{"state": RunState.RUNNING}, {"state": RunState.SUCCEEDED}, {"dispatch_no": 2}])
def test_a_run_that_was_enqueued_after_all(fields):
    """A run that a worker holds or has ended, or that was dispatched again meanwhile, stays unchanged."""
    row = run_row()
    FeatureRun.objects.update(**fields)

    assert row.undispatch() is False
    assert row.state == RunState.QUEUED
    assert FeatureRun.objects.get().state == fields.get("state", RunState.QUEUED)


# postpone, fail


def test_a_postponed_run_waits():
    """A postponed run waits by the database's clock, at its task, with its new context and without a lease."""
    run = claimed_run()

    run.remember(run.postpone([execution(run, state="failed")], seconds=60, reason="again", context='{"tried":1}'))

    row = FeatureRun.objects.annotate(left=F("available_at") - Now()).get()
    assert (row.state, row.reason, row.position, row.context) == (RunState.WAITING, "again", 0, '{"tried":1}')
    assert (row.lease_expires_at, row.queued_at) == (None, None)
    assert timedelta(seconds=0) < row.left <= timedelta(seconds=60)
    assert list(row.log.values_list("name", "state")) == [("mail", "failed")]
    assert (run.state, run.reason) == (RunState.WAITING, "again")


def test_a_wait_that_is_skipped():
    """A run whose wait was ended by hand is due, and its reason says so."""
    run = run_row(state=RunState.WAITING, available_at=timezone.now() + timedelta(hours=1), reason="mail starts later")

    assert run.skip_wait() is True

    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.PENDING, "its wait was ended")
    assert run in FeatureRun.objects.due()


def test_a_run_that_fails_unsettled():
    """A run can fail before its tasks have run: it ends at its position, with the reason."""
    run = claimed_run(position=1)

    run.remember(run.fail("unknown task notify"))

    row = FeatureRun.objects.get()
    assert (row.state, row.reason, row.position) == (RunState.FAILED, "unknown task notify", 1)
    assert row.finished_at is not None
    assert row.lease_expires_at is None


# A COMMIT whose answer got lost


WRITES = {
    "checkpoint": (lambda run: run.checkpoint([execution(run)]), (RunState.RUNNING, 1)),
    "end": (lambda run: run.checkpoint([execution(run), execution(run, 1)], end=RunState.SUCCEEDED), ("succeeded", 2)),
    "postpone": (lambda run: run.postpone([execution(run)], seconds=9, reason="again"), (RunState.WAITING, 0)),
    "release": (lambda run: run.release("handed over"), (RunState.PENDING, 0)),
    "fail": (lambda run: run.fail("unknown task"), (RunState.FAILED, 0)),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_transition_that_was_written_is_not_written_again(write):
    """D8: a state change that is repeated after a lost COMMIT answer returns the same and writes nothing more."""
    transition, (state, position) = WRITES[write]
    run = claimed_run()
    transition(run)
    before = FeatureRun.objects.values().get(), list(TaskExecution.objects.values())

    run.remember(transition(run))

    assert (FeatureRun.objects.values().get(), list(TaskExecution.objects.values())) == before
    assert (run.state, run.position) == (state, position)


# recover


def lapsed(run):
    FeatureRun.objects.filter(pk=run.pk).update(lease_expires_at=Now() - timedelta(seconds=1))


def test_a_lost_holder_s_run_is_released():
    """A run whose worker died is pending at its task, with the lost execution and the reason."""
    run = claimed_run(position=1)

    lost = run.recover(
        [execution(run, 1, "lost")], settled=0, end=None, reason="resuming: killed", only_if_expired=False
    )

    row = FeatureRun.objects.get()
    assert lost is True
    assert (row.state, row.position, row.reason) == (RunState.PENDING, 1, "resuming: killed")
    assert row.lease_expires_at is None
    assert list(row.log.values_list("name", "state")) == [("notify", "lost")]


@pytest.mark.parametrize("lapse", [True, False])
def test_a_holder_that_has_renewed_its_lease_is_alive(lapse):
    """A relay that saw an expired lease leaves the run to a worker that has renewed the lease meanwhile."""
    run = claimed_run()
    if lapse:
        lapsed(run)

    lost = run.recover([execution(run, 0, "lost")], settled=0, end=None, reason="resuming", only_if_expired=True)

    assert lost is lapse
    assert FeatureRun.objects.get().state == (RunState.PENDING if lapse else RunState.RUNNING)
    assert TaskExecution.objects.count() == int(lapse)


def test_a_checkpoint_renews_the_lease():
    """A worker that could not renew its lease in time, but reaches a checkpoint, keeps the run."""
    run = claimed_run()
    lapsed(run)
    run.held_at -= conf.LEASE_SECONDS

    run.remember(run.checkpoint([execution(run)]))

    assert not FeatureRun.objects.expired().exists()
    assert run.recover([], settled=0, end=None, reason="resuming", only_if_expired=True) is False


def test_a_lease_that_is_fresh_is_left_alone():
    """A checkpoint soon after the claim does not write the lease, whose column has an index."""
    run = claimed_run()
    lease = run.lease_expires_at

    changes = run.checkpoint([execution(run)])

    assert "lease_expires_at" not in changes
    assert FeatureRun.objects.get().lease_expires_at == lease


# cancel


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.QUEUED, RunState.WAITING])
def test_a_run_that_no_worker_holds_is_cancelled_at_once(state):
    """C9: a run that waits for a worker is cancelled at once and cannot be claimed any more."""
    row = run_row(state=state)

    assert row.cancel() is True

    row.refresh_from_db()
    assert (row.state, row.reason) == (RunState.CANCELLED, "cancelled")
    assert row.finished_at is not None
    assert FeatureRun.objects.claim(row.pk, 1, worker="w1") is None


@pytest.mark.parametrize(
    "go_on",
    [
        lambda run: run.checkpoint([execution(run)]),
        lambda run: run.postpone([execution(run)], seconds=5, reason="again"),
        lambda run: run.release("handed over"),
    ],
    ids=["checkpoint", "postpone", "release"],
)
def test_a_run_that_a_worker_holds_is_cancelled_between_two_tasks(go_on):
    """C9: a run whose cancellation was requested ends at its worker's next state change, whichever it is."""
    run = claimed_run()

    assert FeatureRun.objects.get().cancel() is True
    assert FeatureRun.objects.get().state == RunState.RUNNING
    run.remember(go_on(run))

    row = FeatureRun.objects.get()
    assert (row.state, row.reason) == (RunState.CANCELLED, "cancelled between two tasks")
    assert (run.state, row.lease_expires_at) == (RunState.CANCELLED, None)
    assert row.finished_at is not None


def test_a_cancelled_run_whose_holder_dies_is_not_resumed():
    """C9: a run whose cancellation was asked for, and whose worker then died, is cancelled and not run again."""
    run = claimed_run()
    run.cancel()

    lost = run.recover(
        [execution(run, 0, "lost")], settled=0, end=None, reason="resuming: killed", only_if_expired=False
    )

    row = FeatureRun.objects.get()
    assert lost is True
    assert (row.state, row.reason) == (RunState.CANCELLED, "cancelled between two tasks")
    assert list(row.log.values_list("name", "state")) == [("mail", "lost")]


def test_a_cancellation_that_comes_too_late():
    """C9: a run whose last task has ended has succeeded, even if its cancellation was requested meanwhile."""
    run = claimed_run(position=1)
    run.cancel()

    run.remember(run.checkpoint([execution(run, 1)], end=RunState.SUCCEEDED))

    assert FeatureRun.objects.get().state == RunState.SUCCEEDED


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.ROLLED_BACK])
def test_a_run_that_has_ended_is_not_cancelled(state):
    """C9: cancelling a run that has ended returns False and changes nothing."""
    row = run_row(state=state)

    assert row.cancel() is False
    assert list(FeatureRun.objects.values_list("state", "cancel_requested")) == [(state, False)]


# resume


def ended_run(*states, state=RunState.FAILED, names=("mail", "notify", "publish")):
    """A run that has ended, with one execution for each of *states*; None: that task was never run."""
    run = run_row(state=state, task_names=list(names), token=1, position=len(names), finished_at=Now(), reason="why")
    TaskExecution.objects.bulk_create(
        execution(run, position, each) for position, each in enumerate(states) if each is not None
    )
    return run


RESUMES = {
    "failed, all that remain": (["succeeded", "failed", "skipped"], False, ["mail", "notify", "publish"], 1),
    "failed, only failed": (["succeeded", "failed", "skipped"], True, ["mail", "publish", "notify"], 2),
    "failed in the middle": (["succeeded", "failed", "succeeded"], False, ["mail", "publish", "notify"], 2),
    "crash loop": (["lost", "succeeded", "succeeded"], True, ["notify", "publish", "mail"], 2),
    "cancelled": (["succeeded", None, None], False, ["mail", "notify", "publish"], 1),
}


@pytest.mark.parametrize("case", RESUMES)
@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_resumed_run(case, state):
    """C9: a resumed run is pending, and the tasks that are to run again come after those that are not."""
    states, only_failed, names, position = RESUMES[case]
    run = ended_run(*states, state=state)
    FeatureRun.objects.update(cancel_requested=True)

    assert run.resume(only_failed=only_failed) is True

    row = FeatureRun.objects.get()
    assert (row.state, row.reason, row.finished_at) == (RunState.PENDING, "resumed", None)
    assert (row.task_names, row.position, row.cancel_requested) == (names, position, False)
    assert list(FeatureRun.objects.due()) == [row]


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.FAILED, RunState.CANCELLED}))
def test_no_other_run_is_resumed(state):
    """C9: a run that has not failed and was not cancelled is not resumed."""
    run = ended_run("failed", state=state)

    assert run.resume() is False
    assert FeatureRun.objects.get().state == state


def test_a_run_without_a_failure_has_no_failure_to_resume():
    """C9: resuming the failed tasks of a cancelled run without any returns False."""
    run = ended_run("succeeded", None, None, state=RunState.CANCELLED)

    assert run.resume(only_failed=True) is False
    assert FeatureRun.objects.get().state == RunState.CANCELLED


def test_a_run_is_resumed_once():
    """C9: of two that resume a run, one succeeds and the other gets False."""
    run = ended_run("failed", "succeeded", "succeeded")
    other = FeatureRun.objects.get()

    assert (run.resume(), other.resume()) == (True, False)


class LaggingReplica:
    """A router that sends reads to a replica that has no data yet."""

    def db_for_read(self, model, **hints):
        return "other"


@pytest.mark.django_db(databases=["default", "other"])
def test_the_log_is_read_where_it_was_written(settings):
    """A resumed run repeats the right tasks even if a router sends reads to a replica that lags."""
    run = ended_run("succeeded", "failed", "succeeded")
    settings.DATABASE_ROUTERS = ["tests.test_models.LaggingReplica"]

    assert run.resume() is True
    run.reread()

    assert (run.state, run.task_names) == (RunState.PENDING, ["mail", "publish", "notify"])


@pytest.mark.django_db
def test_the_log_of_a_deleted_run_is_empty():
    """The log of a run object whose row was deleted can still be read: it is empty."""
    run = ended_run("succeeded")

    run.delete()

    assert list(run.log) == []


@pytest.mark.parametrize("choices", [RunState, ExecutionState])
def test_the_path_of_a_state_is_public(choices):
    """A context that holds a state stores its path, which is the documented one."""
    assert choices.__module__ == "numflow_django.models"


# create_run


def test_a_run_that_begins_later():
    """A run with a delay is inserted as waiting, by the database's clock, and is not due."""
    FeatureRun.objects.create_run(wait=60, feature="market.buy", queue="default", task_names=["mail"])

    row = FeatureRun.objects.annotate(left=F("available_at") - Now()).get()
    assert (row.state, row.reason, row.dispatch_no) == (RunState.WAITING, "waiting for its start time", 0)
    assert timedelta(0) < row.left <= timedelta(seconds=60)
    assert not FeatureRun.objects.due().exists()


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
