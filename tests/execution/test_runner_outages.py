"""Databases that go down while a worker is at work."""

import logging
from textwrap import dedent
from uuid import uuid4

import pytest
from django.db import InterfaceError, OperationalError, connections

from numflow_django import signals
from numflow_django.execution import executor, run_database, runner
from numflow_django.models import FeatureRun, RunState
from tests.market.models import Sale
from tests.support.running import executions, go_on, messages, on_postgresql, queued, run_through, states, task

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

HANG_UP = """
    pid = connection.connection.info.backend_pid
    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])
        while cursor.fetchone()[0]:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])
"""
NOTE = "lines.append('{name}')"
LOSE_ONCE = "lines.append('{name}')\nif lines.count('{name}') == 1:\n    raise Error('gone')"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """As many attempts as usual, without waiting between them."""
    monkeypatch.setattr(run_database, "WRITE_WAITS", (0,) * len(run_database.WRITE_WAITS))


@pytest.fixture
def lost(monkeypatch):
    """Treat every OperationalError and InterfaceError of a task as a lost connection."""
    monkeypatch.setattr(
        run_database.RunDatabase,
        "is_connection_lost",
        lambda self, error, **facts: isinstance(error, OperationalError | InterfaceError),
    )


# During a task


@pytest.mark.parametrize("kind", ["OperationalError", "InterfaceError"])
def test_a_connection_that_is_lost_in_a_task(feature, journal, lost, kind):
    """A task whose database connection breaks is lost and not failed: the run is released and resumes there."""
    body = f"from django.db import {kind} as Error\n{LOSE_ONCE}"

    run = run_through(feature(mail=NOTE, notify=body, publish=NOTE))
    given = run.state, run.position, run.reason
    go_on(run)

    assert given == (RunState.PENDING, 1, "resuming: its database connection was lost: gone")
    assert journal() == ["mail", "notify", "notify", "publish"]
    assert [(e.name, e.state, e.attempt, e.error_message) for e in executions(run)][1:3] == [
        ("notify", "lost", 1, "its database connection was lost: gone"),
        ("notify", "succeeded", 2, ""),
    ]
    assert (run.state, run.reason) == (RunState.SUCCEEDED, "")


def test_an_error_of_a_working_connection_is_the_tasks(feature):
    """An OperationalError on a connection that works is the task's failure like any other."""
    run = run_through(feature(mail="from django.db import OperationalError\nraise OperationalError('no such table')"))

    assert (run.state, states(run)) == (RunState.FAILED, [("mail", "failed")])


@on_postgresql
@pytest.mark.parametrize("rules", ["", "atomic=True"], ids=["plain", "atomic"])
def test_a_server_that_hangs_up_in_a_task(feature, rules):
    """D8: a task in which PostgreSQL closes the connection is resumed; an atomic task's writes are gone."""
    body = "Sale.objects.create(item=str(ctx.task.attempt))\nif ctx.task.attempt == 1:\n"
    body += "\n".join(f"    {line}" for line in [*dedent(HANG_UP).strip().splitlines(), "Sale.objects.count()"])

    run = go_on(run_through(feature(charge=task(body, rules))))

    assert states(run) == [("charge", "lost"), ("charge", "succeeded")]
    assert [sale.item for sale in Sale.objects.order_by("id")] == (["2"] if rules else ["1", "2"])


@on_postgresql
@pytest.mark.parametrize("use", ["pass", "Sale.objects.count()"], ids=["unnoticed", "noticed"])
def test_a_hang_up_that_a_task_survives(feature, use):
    """If a task survives a dead connection, its checkpoint and the next task work too."""
    body = f"{dedent(HANG_UP)}\ntry:\n    {use}\nexcept Error:\n    pass"

    run = run_through(feature(mail=body, notify="return Sale.objects.count()"))

    assert states(run) == [("mail", "succeeded"), ("notify", "succeeded")]


def test_a_run_that_was_taken_over_while_the_database_was_down(feature, journal, lost, monkeypatch, caplog):
    """A worker whose run has another worker after an outage leaves it alone and runs none of its tasks."""
    record = executor.record_loss

    def record_and_be_late(run, message, *, only_if_expired):
        done = record(run, message, only_if_expired=only_if_expired)
        FeatureRun.objects.update(state=RunState.RUNNING, claim_id=uuid4(), worker="w2")
        return done

    monkeypatch.setattr(executor, "record_loss", record_and_be_late)
    body = f"from django.db import OperationalError as Error\n{LOSE_ONCE}"

    run = run_through(feature(mail=body, notify=NOTE))

    assert (run.state, run.worker, journal()) == (RunState.RUNNING, "w2", ["mail"])
    [warning] = messages(caplog, logging.WARNING)
    assert warning.endswith("another worker has taken it over while its database was down")


# A COMMIT whose answer gets lost


@pytest.fixture
def break_after_commit(monkeypatch, listen):
    """Break the connection right after the first COMMIT since the task *name* began."""

    def arrange(name):
        wrapper = connections["default"]
        commit = wrapper._commit

        def commit_and_break():
            commit()
            monkeypatch.setattr(wrapper, "_commit", commit)
            raise OperationalError("the answer got lost")

        def receiver(task, **facts):
            if task.name == name:
                monkeypatch.setattr(wrapper, "_commit", commit_and_break)

        listen(signals.task_started, receiver)
        return receiver

    return arrange


@pytest.mark.parametrize("name", ["charge", "ship"], ids=["in the middle", "at the end"])
@pytest.mark.parametrize("rules", ["", "atomic=True"], ids=["plain", "atomic"])
def test_a_commit_whose_answer_gets_lost(feature, journal, lost, listen, break_after_commit, name, rules):
    """D8: a checkpoint that was written although its COMMIT got no answer counts once, and the run continues."""
    ended = []
    listen(signals.run_succeeded, lambda run, **facts: ended.append(run.pk))
    charge = task("Sale.objects.create(item='{name}')\nlines.append('{name}')", rules)
    if not rules:
        charge = task(NOTE)  # of a plain task the checkpoint is the only COMMIT here
    assert break_after_commit(name)

    run = run_through(feature(charge=charge, ship=charge))

    assert journal() == ["charge", "ship"]
    assert (run.state, states(run)) == (RunState.SUCCEEDED, [("charge", "succeeded"), ("ship", "succeeded")])
    assert Sale.objects.count() == (2 if rules else 0)
    assert ended == [run.pk]


# Between two tasks


@pytest.mark.parametrize("error", [OperationalError("starting up"), InterfaceError("closed")], ids=repr)
@pytest.mark.parametrize("times", [1, len(run_database.WRITE_WAITS)])
def test_a_checkpoint_waits_for_its_database(feature, monkeypatch, caplog, error, times):
    """A short outage of the database costs no execution: the checkpoint is written once it is up."""
    failures = [error] * times
    checkpoint = FeatureRun.checkpoint

    def fail(self, *args, **kwargs):
        if failures:
            raise failures.pop()
        return checkpoint(self, *args, **kwargs)

    monkeypatch.setattr(FeatureRun, "checkpoint", fail)

    run = run_through(feature(mail="return 'sent'"))

    assert (run.state, states(run), executions(run)[0].result) == (RunState.SUCCEEDED, [("mail", "succeeded")], "sent")
    assert messages(caplog, logging.WARNING) == [f"not written run={run.pk} error={error!r}; trying again"] * times


def test_a_database_that_stays_down(feature, monkeypatch):
    """If the database stays down, the worker raises, and the run is recovered when its lease expires."""
    tries = []

    def fail(self, *args, **kwargs):
        tries.append(self.pk)
        raise OperationalError("the database is down")

    monkeypatch.setattr(FeatureRun, "checkpoint", fail)
    row = queued(feature(mail="pass"))

    with pytest.raises(OperationalError, match="the database is down"):
        runner.run(row.pk, 1, worker="w1")

    row.reread()
    assert len(tries) == len(run_database.WRITE_WAITS) + 1
    assert (row.state, states(row)) == (RunState.RUNNING, [])
