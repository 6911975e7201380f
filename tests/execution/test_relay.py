"""The relay: runs that are due, runs that Redis has lost, and runs whose worker died."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections, transaction
from rq.intermediate_queue import IntermediateQueue

from numflow_django.broker import lookup, marks
from numflow_django.broker.job import job_id
from numflow_django.broker.pauses import note_failure
from numflow_django.db.timestamps import Now
from numflow_django.execution import missing_jobs, pages, relay
from numflow_django.execution.relay import Relay
from numflow_django.models import FeatureRun, RunState
from numflow_django.signals import dispatch_failed
from tests.e2e.processes import own_database
from tests.support.brokers import free_port
from tests.support.relaying import LONG_AGO, announced, counts, enqueued, jobs, numbers, run_row
from tests.support.running import executions

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.usefixtures("two_databases")]

RELAYS = 6


# Expired leases


def test_a_run_whose_lease_ran_out_is_recovered(server, caplog):
    """C13: the run of a dead worker is pending again, its execution recorded, and enqueued in the same tick."""
    caplog.set_level(logging.INFO, logger="numflow_django")
    run = run_row(RunState.RUNNING, lease_expires_at=Now() - timedelta(seconds=1), worker="w1", token=1, position=1)

    report = Relay().tick()

    assert counts(report) == (1, 0, 1)
    assert numbers(run) == [(RunState.QUEUED, 2)]
    assert jobs(server) == announced(run)
    [lost] = executions(run)
    assert (lost.name, lost.state, lost.error_message) == ("notify", "lost", "the lease of worker w1 ran out")
    assert run.reason == "resuming: the lease of worker w1 ran out"
    assert caplog.messages[-1] == "relay recovered=1 undispatched=0 dispatched=1"


def test_a_run_that_a_worker_holds_is_left_alone(server):
    """A run whose lease has not expired belongs to its worker."""
    run = run_row(RunState.RUNNING, lease_expires_at=Now() + timedelta(seconds=60), ago=LONG_AGO)

    report = Relay().tick(thorough=True)

    assert not report
    assert numbers(run) == [(RunState.RUNNING, 1)]
    assert (jobs(server), executions(run)) == ([], [])


# Due runs


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.WAITING])
def test_a_run_that_is_due_is_dispatched(server, state):
    """A pending or waiting run that is due is enqueued under the next number."""
    run = run_row(state, ago=LONG_AGO)

    report = Relay().tick()

    assert counts(report) == (0, 0, 1)
    assert numbers(run) == [(RunState.QUEUED, 2)]
    assert jobs(server) == announced(run)


def test_a_run_that_is_not_due_is_left_alone(server):
    """A run that waits, for its start or its next attempt, waits until then."""
    run = run_row(RunState.WAITING, ago=timedelta(hours=-1))

    assert not Relay().tick(thorough=True)
    assert (numbers(run), jobs(server)) == ([(RunState.WAITING, 1)], [])


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.ROLLED_BACK])
def test_a_run_that_has_ended_is_left_alone(server, state):
    """A run that has ended, or was rolled back, is never enqueued."""
    run = run_row(state, ago=LONG_AGO, lease_expires_at=Now() - LONG_AGO)

    assert not Relay().tick(thorough=True)
    assert (numbers(run), jobs(server)) == ([(state, 1)], [])


def test_a_run_of_an_unknown_feature_is_dispatched(server):
    """The relay enqueues a run even if its code lacks the feature, because a worker's code may be newer."""
    run = run_row(RunState.PENDING, feature="shop.unheard_of")

    Relay().tick()

    assert jobs(server) == announced(run)


# Lost jobs


def test_what_is_in_redis_is_not_enqueued_again(server):
    """A run whose job is in Redis is left alone, however long it waits and however often the relay checks."""
    runs = [enqueued(run_row(ago=ago)) for ago in (timedelta(0), LONG_AGO)]
    every = Relay()

    reports = [every.tick(), every.tick(), every.tick(thorough=True), Relay().tick()]

    assert not any(reports)
    assert numbers(*runs) == [(RunState.QUEUED, 1)] * 2
    assert jobs(server) == announced(*runs)


def test_a_web_process_that_died_before_it_enqueued_the_run(relay_at_work, server):
    """D5: a run that was committed as queued but never enqueued is found at the next tick."""
    run, other = run_row(), enqueued(run_row())

    report = relay_at_work.tick()

    assert counts(report) == (0, 1, 1)
    assert numbers(run, other) == [(RunState.QUEUED, 2), (RunState.QUEUED, 1)]
    assert sorted(jobs(server)) == sorted(announced(run, other))


def test_a_redis_that_lost_everything(relay_at_work, server):
    """D5: a flush of Redis is noticed at the next tick: each queued run is enqueued again once."""
    runs = [enqueued(run_row(ago=LONG_AGO, queue=queue)) for queue in ("default", "default", "mail")]
    quiet = relay_at_work.tick()
    server.flushall()

    report = relay_at_work.tick()

    assert not quiet
    assert counts(report) == (0, 3, 3)
    assert numbers(*runs) == [(RunState.QUEUED, 2)] * 3
    assert jobs(server) == announced(*runs[:2])
    assert jobs(server, "mail") == announced(runs[2])
    assert not relay_at_work.tick()


def test_a_flush_is_noticed_for_the_runs_of_all_databases(relay_at_work, server):
    """D5: after a flush, the runs of several databases on one queue are all enqueued again."""
    runs = [enqueued(run_row(ago=LONG_AGO, using=alias)) for alias in ("default", "other")]
    server.flushall()

    report = relay_at_work.tick()

    assert counts(report) == (0, 2, 2)
    assert jobs(server) == announced(*runs)


def test_a_flush_that_one_relay_cannot_see_to_is_left_to_the_next(relay_at_work, server):
    """D5: a relay that notices a flush and runs out of time leaves the rest to the next tick."""
    runs = [enqueued(run_row(ago=LONG_AGO)) for _ in range(2)]
    server.flushall()

    first = Relay().tick(seconds=0)
    second = relay_at_work.tick()

    assert not first
    assert counts(second) == (0, 2, 2)
    assert jobs(server) == announced(*runs)


def test_a_job_that_rq_lost_between_pop_and_start(relay_at_work, server, clock):
    """A job that RQ took and lost is found by the slow check, once a minute, and not before."""
    run, other = enqueued(run_row(ago=LONG_AGO)), enqueued(run_row(ago=LONG_AGO))
    server.lpop("rq:queue:default")

    clock.now += missing_jobs.SLOW_CHECK_SECONDS - 1
    early = relay_at_work.tick()
    clock.now += 1
    report = relay_at_work.tick()

    assert not early
    assert counts(report) == (0, 1, 1)
    assert jobs(server) == announced(other, run)


def test_a_job_that_a_dead_worker_had_half_taken(relay_at_work, server):
    """A job that stays in RQ's intermediate queue between two checks is moved back; a foreign one is not."""
    run = enqueued(run_row())
    between = IntermediateQueue.get_intermediate_queue_key("rq:queue:default")
    server.lmove("rq:queue:default", between)
    server.rpush(between, "foreign")

    relay_at_work.tick()
    at_first = jobs(server)
    relay_at_work.tick()

    assert (at_first, jobs(server)) == ([], announced(run))
    assert server.lrange(between, 0, -1) == [b"foreign"]
    assert run.dispatch_no == 1


def test_a_worker_that_takes_a_run_while_the_relay_looks(server, monkeypatch):
    """A run that a worker claims while the relay asks Redis stays with the worker."""
    run = enqueued(run_row())
    server.lpop("rq:queue:default")
    runs_with_job = lookup.runs_with_job

    def late(*args, **kwargs):
        FeatureRun.objects.claim(run.pk, 1, worker="w1")
        return runs_with_job(*args, **kwargs)

    monkeypatch.setattr(lookup, "runs_with_job", late)

    report = Relay().tick()

    assert not report
    assert numbers(run) == [(RunState.RUNNING, 1)]


# Many runs, little time


def test_rows_that_cannot_move_do_not_hide_the_rest(server, settings, monkeypatch, listen):
    """Runs of a queue whose Redis is down do not block the runs on later pages."""
    monkeypatch.setattr(pages, "PAGE", 2)
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"mail": {"HOST": "127.0.0.1", "PORT": free_port()}}
    stuck = [run_row(RunState.PENDING, queue="mail") for _ in range(5)]
    free = [run_row(RunState.PENDING) for _ in range(3)]
    failures = []
    listen(dispatch_failed, lambda **facts: failures.append(facts["run_id"]))

    report = Relay().tick()

    assert counts(report) == (0, 0, 3)
    assert [state for state, _ in numbers(*stuck)] == [RunState.PENDING] * 5
    assert jobs(server) == announced(*free)
    assert failures == []  # Redis was found to be down before


def test_all_pages_are_read(server, monkeypatch):
    """Each of the relay's three parts goes through more than one page."""
    monkeypatch.setattr(pages, "PAGE", 2)
    dead = [run_row(RunState.RUNNING, lease_expires_at=Now() - timedelta(seconds=1)) for _ in range(5)]
    unsent = [run_row() for _ in range(5)]

    report = Relay().tick()

    assert counts(report) == (5, 5, 10)
    assert sorted(jobs(server)) == sorted(announced(*dead, *unsent))


def test_a_tick_ends_when_its_time_is_over(server, clock, monkeypatch):
    """A tick stops at the end of its time, and the next one continues."""
    monkeypatch.setattr(pages, "PAGE", 1)
    runs = [run_row(RunState.PENDING) for _ in range(5)]
    dispatch_due = relay.dispatch_due

    def slow(run):
        clock.now += 2
        return dispatch_due(run)

    monkeypatch.setattr(relay, "dispatch_due", slow)
    every = Relay()

    reports = [every.tick(seconds=5), every.tick(seconds=5)]

    assert [report.dispatched for report in reports] == [3, 2]
    assert jobs(server) == announced(*runs)


# Redis is down


def test_a_redis_that_is_down_leaves_everything_for_later(server, settings, clock):
    """While Redis is down nothing is lost and nothing raised; once it is up the next tick does all the work."""
    where = settings.RQ_QUEUES
    settings.RQ_QUEUES = {name: {"HOST": "127.0.0.1", "PORT": free_port()} for name in where}
    queued, due = run_row(ago=LONG_AGO), run_row(RunState.PENDING)
    every = Relay()

    down = every.tick()
    states = [state for state, _ in numbers(queued, due)]
    settings.RQ_QUEUES = where
    report = every.tick()

    assert not down
    assert states == [RunState.QUEUED, RunState.PENDING]
    assert counts(report) == (0, 1, 2)
    assert jobs(server) == announced(queued, due)


def test_a_queue_that_failed_a_moment_ago_is_left_alone(server, monkeypatch):
    """A paused queue costs the relay no attempts, and none of its runs changes."""
    run = run_row(RunState.PENDING)
    note_failure("default", OSError("down"))

    assert not Relay().tick()
    assert numbers(run) == [(RunState.PENDING, 1)]


def test_a_queue_that_the_settings_no_longer_have(server):
    """Runs of a queue that is not in RQ_QUEUES stay as they are, and those of other queues go on."""
    gone = [run_row(queue="post", ago=LONG_AGO), run_row(RunState.PENDING, queue="post")]
    run = run_row(RunState.PENDING)

    report = Relay().tick()

    assert counts(report) == (0, 0, 1)
    assert [state for state, _ in numbers(*gone)] == [RunState.QUEUED, RunState.PENDING]
    assert jobs(server) == announced(run)


# Several relays, queues, databases


@pytest.mark.parametrize("queue", ["default", "mail"])
@pytest.mark.parametrize("using", ["default", "other"])
def test_every_queue_of_every_database(server, queue, using):
    """Runs of all queues and databases are recovered, found and dispatched."""
    fields = {"queue": queue, "using": using}
    dead = run_row(RunState.RUNNING, lease_expires_at=Now() - timedelta(seconds=1), **fields)
    unsent, due = run_row(**fields), run_row(RunState.PENDING, **fields)

    report = Relay().tick()

    assert counts(report) == (1, 1, 3)
    assert sorted(jobs(server, queue)) == sorted(announced(dead, unsent, due))


def test_two_relays_that_see_the_same_run(server):
    """Of two relays that have read the same row, one dispatches it."""
    run_row(RunState.PENDING)
    first, second = FeatureRun.objects.get(), FeatureRun.objects.get()

    assert (relay.dispatch_due(first), relay.dispatch_due(second)) == (True, False)
    assert len(jobs(server)) == 1


@pytest.mark.django_db(databases=[])
def test_many_relays_at_once(server, tmp_path, django_db_blocker, monkeypatch):
    """Relays that tick at the same moment enqueue each run once and record each loss once."""
    with django_db_blocker.unblock(), own_database("relays", tmp_path):
        monkeypatch.setattr(relay.registry, "databases", lambda: iter(["relays"]))
        runs = FeatureRun.objects.using("relays")
        for _ in range(10):
            run_row(RunState.PENDING, using="relays")
            run_row(using="relays", ago=LONG_AGO)
            run_row(RunState.RUNNING, using="relays", lease_expires_at=Now() - timedelta(seconds=1))
        start = Barrier(RELAYS)

        def tick(_):
            try:
                connections["relays"].ensure_connection()
                start.wait()
                return Relay().tick(seconds=60)
            finally:
                connections["relays"].close()

        with ThreadPoolExecutor(RELAYS) as threads:
            reports = list(threads.map(tick, range(RELAYS)))

        assert sum(report.recovered for report in reports) == 10
        assert set(runs.values_list("state", flat=True)) == {RunState.QUEUED}
        last = {job_id(run.pk, run.dispatch_no) for run in runs.all()}
        assert last <= set(jobs(server))
        assert sum(len(executions(run)) for run in runs.all()) == 10


# A worker's short tick


def test_a_run_that_was_handed_over_is_enqueued_at_once(server):
    """C13: a run that its worker released does not wait for a tick."""
    marks.take_turn("default", 60)
    run, waiting = run_row(RunState.PENDING), run_row(RunState.WAITING)

    relay.after_run(run)
    relay.after_run(waiting)

    assert numbers(run, waiting) == [(RunState.QUEUED, 2), (RunState.WAITING, 1)]
    assert jobs(server) == announced(run)


def test_the_short_tick_is_done_by_one_worker_at_a_time(server):
    """At the end of a run a worker does a short tick, if no other has done so within RELAY_SECONDS."""
    done = run_row(RunState.SUCCEEDED)
    first = run_row(RunState.PENDING)

    relay.after_run(done)
    second = run_row(RunState.PENDING)
    relay.after_run(done)

    assert numbers(first, second) == [(RunState.QUEUED, 2), (RunState.PENDING, 1)]
    assert 0 < server.pttl("numflow:turn:default") <= 10_000


@pytest.mark.parametrize("error", [OperationalError("down"), InterfaceError("closed")], ids=repr)
def test_a_database_that_is_down_does_not_fail_the_run_that_has_ended(server, monkeypatch, caplog, error):
    """An error of the short tick is logged; the run before it has ended all the same."""

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Relay, "tick", fail)

    relay.after_run(run_row(RunState.SUCCEEDED))

    assert caplog.messages == [f"relay failed error={error!r}; the next run tries again"]


# Without our tables


@pytest.mark.skipif(not connection.features.can_rollback_ddl, reason="the table would stay renamed")
@pytest.mark.django_db
def test_a_tick_that_finds_no_table_says_which_command_makes_it():
    """Where the run tables are missing, the relay's error has a note with the database and the command."""
    name = connection.ops.quote_name(FeatureRun._meta.db_table)

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {name} RENAME TO hidden")
        with pytest.raises(DatabaseError) as caught:
            Relay().tick()
        transaction.set_rollback(True)

    assert caught.value.__notes__ == [
        "the run tables in DATABASES['default'] are missing or old: run manage.py migrate --database default; if that "
        "does not help, run manage.py check --database default"
    ]
