"""The relay: runs that are due, runs that Redis has lost, and runs whose worker died."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from threading import Barrier
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections, transaction
from rq.intermediate_queue import IntermediateQueue

from numflow_django.broker import dispatch
from numflow_django.db.timestamps import Now
from numflow_django.execution import relay
from numflow_django.execution.relay import Relay
from numflow_django.models import FeatureRun, RunState
from numflow_django.signals import dispatch_failed
from tests.e2e.processes import own_database
from tests.support.brokers import free_port, registered_worker
from tests.support.running import executions, messages

pytestmark = pytest.mark.django_db(databases=["default", "other"])

LONG_AGO = timedelta(hours=1)
RELAYS = 6


def run_row(state=RunState.QUEUED, *, using="default", ago=timedelta(0), **fields):
    """A run that was enqueued, or became due, some time *ago*; if it is queued, it has no job in Redis."""
    defaults = {"feature": "market.buy", "queue": "default", "task_names": ["mail", "notify"], "dispatch_no": 1}
    defaults |= {"available_at": Now() - ago, "queued_at": Now() - ago}
    run = FeatureRun.objects.using(using).create(state=state, **defaults | fields)
    run.reread()
    return run


def ring(run):
    assert dispatch.ring(run_id=run.pk, dispatch_no=run.dispatch_no, queue=run.queue, timeout=60, feature=run.feature)
    return run


def jobs(server, queue="default"):
    """The ids of the jobs in a queue, in order."""
    return [name.decode() for name in server.lrange(f"rq:queue:{queue}", 0, -1)]


def announced(*runs):
    for run in runs:
        run.reread()
    return [dispatch.job_id(run.pk, run.dispatch_no) for run in runs]


def numbers(*runs):
    for run in runs:
        run.reread()
    return [(run.state, run.dispatch_no) for run in runs]


def counts(report):
    return report.recovered, report.undispatched, report.dispatched


@pytest.fixture
def clock(monkeypatch):
    """The relay's clock, set by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(relay, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def relay_at_work(server, clock):
    """A relay that has just checked everything, in a Redis that it has marked."""
    for queue in ("default", "mail"):
        dispatch.mark(queue)
    at_work = Relay()
    for alias in ("default", "other"):
        for queue in ("default", "mail"):
            at_work.memories[alias, queue] = memory = relay.Memory()
            memory.remember(everything=True)
    return at_work


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


# Lost announced_jobs


def test_what_is_in_redis_is_not_rung_again(server):
    """A run whose job is in Redis is left alone, however long it waits and however often the relay checks."""
    runs = [ring(run_row(ago=ago)) for ago in (timedelta(0), LONG_AGO)]
    every = Relay()

    reports = [every.tick(), every.tick(), every.tick(thorough=True), Relay().tick()]

    assert not any(reports)
    assert numbers(*runs) == [(RunState.QUEUED, 1)] * 2
    assert jobs(server) == announced(*runs)


def test_a_web_process_that_died_before_the_doorbell(relay_at_work, server):
    """D5: a run that was committed as queued but never enqueued is found at the next tick."""
    run, other = run_row(), ring(run_row())

    report = relay_at_work.tick()

    assert counts(report) == (0, 1, 1)
    assert numbers(run, other) == [(RunState.QUEUED, 2), (RunState.QUEUED, 1)]
    assert sorted(jobs(server)) == sorted(announced(run, other))


def test_a_redis_that_lost_everything(relay_at_work, server):
    """D5: a flush of Redis is noticed at the next tick: each queued run is enqueued again once."""
    runs = [ring(run_row(ago=LONG_AGO, queue=queue)) for queue in ("default", "default", "mail")]
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
    runs = [ring(run_row(ago=LONG_AGO, using=alias)) for alias in ("default", "other")]
    server.flushall()

    report = relay_at_work.tick()

    assert counts(report) == (0, 2, 2)
    assert jobs(server) == announced(*runs)


@pytest.fixture(autouse=True)
def two_databases(monkeypatch):
    """Features in both databases."""
    monkeypatch.setattr(relay.registry, "databases", lambda: iter(["default", "other"]))


def test_a_flush_that_one_relay_cannot_see_to_is_left_to_the_next(relay_at_work, server):
    """D5: a relay that notices a flush and runs out of time leaves the rest to the next tick."""
    runs = [ring(run_row(ago=LONG_AGO)) for _ in range(2)]
    server.flushall()

    first = Relay().tick(budget=0)
    second = relay_at_work.tick()

    assert not first
    assert counts(second) == (0, 2, 2)
    assert jobs(server) == announced(*runs)


def test_a_job_that_rq_lost_between_pop_and_start(relay_at_work, server, clock):
    """A job that RQ took and lost is found by the slow check, once a minute, and not before."""
    run, other = ring(run_row(ago=LONG_AGO)), ring(run_row(ago=LONG_AGO))
    server.lpop("rq:queue:default")

    clock.now += relay.SLOW_CHECK - 1
    early = relay_at_work.tick()
    clock.now += 1
    report = relay_at_work.tick()

    assert not early
    assert counts(report) == (0, 1, 1)
    assert jobs(server) == announced(other, run)


def test_a_job_that_a_dead_worker_had_half_taken(relay_at_work, server):
    """A job that stays in RQ's intermediate queue between two checks is moved back; a foreign one is not."""
    run = ring(run_row())
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
    run = ring(run_row())
    server.lpop("rq:queue:default")
    known = dispatch.known

    def late(*args, **kwargs):
        FeatureRun.objects.claim(run.pk, 1, worker="w1")
        return known(*args, **kwargs)

    monkeypatch.setattr(dispatch, "known", late)

    report = Relay().tick()

    assert not report
    assert numbers(run) == [(RunState.RUNNING, 1)]


# Many runs, little time


def test_rows_that_cannot_move_do_not_hide_the_rest(server, settings, monkeypatch, listen):
    """Runs of a queue whose Redis is down do not block the runs on later pages."""
    monkeypatch.setattr(relay, "PAGE", 2)
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"mail": {"HOST": "127.0.0.1", "PORT": free_port()}}
    stuck = [run_row(RunState.PENDING, queue="mail") for _ in range(5)]
    free = [run_row(RunState.PENDING) for _ in range(3)]
    failures = []
    listen(dispatch_failed, lambda **facts: failures.append(facts["run_id"]))

    report = Relay().tick()

    assert counts(report) == (0, 0, 3)
    assert [state for state, _ in numbers(*stuck)] == [RunState.PENDING] * 5
    assert jobs(server) == announced(*free)
    assert failures == []  # it was found to be away before


def test_all_pages_are_looked_through(server, monkeypatch):
    """Each of the relay's three parts goes through more than one page."""
    monkeypatch.setattr(relay, "PAGE", 2)
    dead = [run_row(RunState.RUNNING, lease_expires_at=Now() - timedelta(seconds=1)) for _ in range(5)]
    unheard = [run_row() for _ in range(5)]

    report = Relay().tick()

    assert counts(report) == (5, 5, 10)
    assert sorted(jobs(server)) == sorted(announced(*dead, *unheard))


def test_a_tick_ends_when_its_time_is_over(server, clock, monkeypatch):
    """A tick stops at the end of its time, and the next one continues."""
    monkeypatch.setattr(relay, "PAGE", 1)
    runs = [run_row(RunState.PENDING) for _ in range(5)]
    ring_slowly = relay.dispatch_due

    def slow(run):
        clock.now += 2
        return ring_slowly(run)

    monkeypatch.setattr(relay, "dispatch_due", slow)
    every = Relay()

    reports = [every.tick(budget=5), every.tick(budget=5)]

    assert [report.dispatched for report in reports] == [3, 2]
    assert jobs(server) == announced(*runs)


# Redis away


def test_a_redis_that_is_away_leaves_everything_for_later(server, settings, clock):
    """While Redis is down nothing is lost and nothing raised; once it is up the next tick does all the work."""
    where = settings.RQ_QUEUES
    settings.RQ_QUEUES = {name: {"HOST": "127.0.0.1", "PORT": free_port()} for name in where}
    queued, due = run_row(ago=LONG_AGO), run_row(RunState.PENDING)
    every = Relay()

    away = every.tick()
    states = [state for state, _ in numbers(queued, due)]
    settings.RQ_QUEUES = where
    report = every.tick()

    assert not away
    assert states == [RunState.QUEUED, RunState.PENDING]
    assert counts(report) == (0, 1, 2)
    assert jobs(server) == announced(queued, due)


def test_a_queue_that_failed_a_moment_ago_is_left_alone(server, monkeypatch):
    """A paused queue costs the relay no attempts, and none of its runs changes."""
    run = run_row(RunState.PENDING)
    dispatch._note_failure("default", OSError("away"))

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
    unheard, due = run_row(**fields), run_row(RunState.PENDING, **fields)

    report = Relay().tick()

    assert counts(report) == (1, 1, 3)
    assert sorted(jobs(server, queue)) == sorted(announced(dead, unheard, due))


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
                return Relay().tick(budget=60)
            finally:
                connections["relays"].close()

        with ThreadPoolExecutor(RELAYS) as threads:
            reports = list(threads.map(tick, range(RELAYS)))

        assert sum(report.recovered for report in reports) == 10
        assert set(runs.values_list("state", flat=True)) == {RunState.QUEUED}
        last = {dispatch.job_id(run.pk, run.dispatch_no) for run in runs.all()}
        assert last <= set(jobs(server))
        assert sum(len(executions(run)) for run in runs.all()) == 10


# Queues without a worker

NOT_SERVED = (
    "queue not served queue=mail runs=2 waited=NNs: no worker is registered for it; start manage.py rqworker mail"
)


def warnings(caplog):
    return [message for message in messages(caplog, logging.WARNING) if message.startswith("queue not served")]


def test_a_queue_without_a_worker_is_warned_of(relay_at_work, server, caplog):
    """Runs that have been queued for a minute while no worker is registered: the log says where, and what to start."""
    registered_worker(server, "default")
    for using in ("default", "other"):
        ring(run_row(ago=LONG_AGO, queue="mail", using=using))
        ring(run_row(ago=LONG_AGO, using=using))

    relay_at_work.tick()

    [warning] = warnings(caplog)
    assert re.sub("waited=36[0-9][0-9]s", "waited=NNs", warning) == NOT_SERVED


def test_a_worker_that_was_killed_serves_nothing(relay_at_work, server, caplog):
    """A worker whose key has expired is still listed by RQ, but no longer counts."""
    server.delete(registered_worker(server, "default").key)
    ring(run_row(ago=LONG_AGO))

    relay_at_work.tick()

    assert len(warnings(caplog)) == 1


def test_a_queue_without_a_worker_is_warned_of_once_a_minute(relay_at_work, server, clock, caplog):
    """However many relays look, and however often, a queue is warned of once a minute."""
    ring(run_row(ago=LONG_AGO))
    other = Relay()

    for _ in range(3):
        relay_at_work.tick()
        other.tick()
    in_one_minute = len(warnings(caplog))
    clock.now += relay.UNSERVED_SECONDS
    left = server.pttl("numflow:warned:default")
    server.delete("numflow:warned:default")
    relay_at_work.tick()
    other.tick()

    assert (in_one_minute, len(warnings(caplog))) == (1, 2)
    assert 0 < left <= 60_000


SERVED = {
    "a run that was queued a moment ago": {"ago": timedelta(seconds=50)},
    "a run that waited for Redis": {"queued_at": Now()},
    "a run that waits": {"state": RunState.WAITING, "available_at": Now() + LONG_AGO},
    "a run that has ended": {"state": RunState.SUCCEEDED},
}


@pytest.mark.parametrize("fields", SERVED.values(), ids=list(SERVED))
def test_what_needs_no_worker_is_not_warned_of(relay_at_work, server, caplog, fields):
    """Only a run that has been in Redis for a minute counts as waiting for a worker."""
    run_row(**{"ago": LONG_AGO, "queue": "mail"} | fields)

    relay_at_work.tick()

    assert warnings(caplog) == []


def test_a_queue_whose_worker_is_busy_is_not_warned_of(relay_at_work, server, caplog):
    """A worker that is registered, or holds a run of the queue, serves it however long that takes."""
    registered_worker(server, "default")
    for queue in ("default", "mail"):
        ring(run_row(ago=LONG_AGO, queue=queue))
    run_row(RunState.RUNNING, queue="mail", lease_expires_at=Now() + timedelta(seconds=60))

    relay_at_work.tick()

    assert warnings(caplog) == []


def test_a_flush_is_not_taken_for_a_missing_worker(relay_at_work, server, caplog):
    """A flush of Redis also removes the workers' registrations; until they are back there is no warning."""
    ring(run_row(ago=LONG_AGO))
    server.flushall()

    relay_at_work.tick()

    assert warnings(caplog) == []


def test_a_redis_that_is_away_is_not_taken_for_a_missing_worker(settings, clock, caplog):
    """While Redis cannot be reached, its workers cannot be counted, and no queue is warned of."""
    settings.RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": free_port()}}
    run_row(ago=LONG_AGO)

    Relay().tick()

    assert warnings(caplog) == []


def test_a_queue_that_is_served_costs_no_query(relay_at_work, server, django_assert_num_queries):
    """The database is not asked for the runs of a queue that has a worker."""
    for queue in ("default", "mail"):
        registered_worker(server, queue)

    with django_assert_num_queries(0):
        relay_at_work._warn_of_unserved()


# A worker's share


def test_a_run_that_was_handed_over_is_rung_for_at_once(server):
    """C13: a run that its worker released does not wait for a tick."""
    dispatch.take_turn("default", 60)
    run, waiting = run_row(RunState.PENDING), run_row(RunState.WAITING)

    relay.after(run)
    relay.after(waiting)

    assert numbers(run, waiting) == [(RunState.QUEUED, 2), (RunState.WAITING, 1)]
    assert jobs(server) == announced(run)


def test_a_share_of_the_sweep_is_done_by_one_at_a_time(server):
    """At the end of a run a worker does a short tick, if no other has done so within RELAY_SECONDS."""
    done = run_row(RunState.SUCCEEDED)
    first = run_row(RunState.PENDING)

    relay.after(done)
    second = run_row(RunState.PENDING)
    relay.after(done)

    assert numbers(first, second) == [(RunState.QUEUED, 2), (RunState.PENDING, 1)]
    assert 0 < server.pttl("numflow:turn:default") <= 10_000


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")], ids=repr)
def test_a_database_that_is_away_does_not_fail_the_run_that_has_ended(server, monkeypatch, caplog, error):
    """An error of the short tick is logged; the run before it has ended all the same."""

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(Relay, "tick", fail)

    relay.after(run_row(RunState.SUCCEEDED))

    assert caplog.messages == [f"relay failed error={error!r}; the next run tries again"]


# The command


def test_the_command_sweeps_once(server):
    """``numflow_relay --once`` checks everything and prints what it has done."""
    run_row(RunState.RUNNING, lease_expires_at=Now() - timedelta(seconds=1))
    run_row(ago=LONG_AGO)
    taken = ring(run_row(ago=LONG_AGO))
    server.lpop("rq:queue:default")
    Relay().tick(budget=0)
    output = StringIO()

    call_command("numflow_relay", "--once", stdout=output)

    assert output.getvalue() == "recovered 1, lost in Redis 2, dispatched 3\n"
    assert numbers(taken) == [(RunState.QUEUED, 2)]


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")], ids=repr)
def test_the_command_survives_a_database_that_is_away(monkeypatch, caplog, error):
    """A tick that fails because of the database is logged, and the command goes on with the next one."""
    from numflow_django.management.commands import numflow_relay as command

    ticks = []

    def fail(self):
        ticks.append(self)
        raise error

    monkeypatch.setattr(Relay, "tick", fail)
    monkeypatch.setattr(command.connections, "close_all", lambda: None)
    stop = SimpleNamespace(is_set=lambda: len(ticks) == 2, wait=lambda seconds: None, set=None)
    monkeypatch.setattr(command, "threading", SimpleNamespace(Event=lambda: stop))
    monkeypatch.setattr(command.signal, "signal", lambda signum, handler: None)

    call_command("numflow_relay")

    assert caplog.messages == [f"relay failed error={error!r}; trying again in 10.0 s"] * 2


@pytest.mark.skipif(not connection.features.can_rollback_ddl, reason="the table would stay renamed")
@pytest.mark.django_db
def test_a_sweep_that_finds_no_table_says_which_command_makes_it():
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
