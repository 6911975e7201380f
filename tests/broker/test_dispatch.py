"""What happens to a run when it is enqueued: its job is in Redis, or the run is pending."""

import socket
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

from numflow_django.broker import dispatch, queues
from numflow_django.broker.pauses import note_failure
from numflow_django.models import FeatureRun, RunState
from numflow_django.signals import dispatch_failed
from tests.broker.runs import RUN, enqueued
from tests.support.brokers import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture
def failures(listen):
    """The facts that dispatch_failed was sent with."""
    facts = []
    listen(dispatch_failed, lambda **each: facts.append(SimpleNamespace(**each)))
    return facts


def test_a_run_that_is_in_redis_stays_queued(server, django_assert_num_queries):
    """A run whose job is in Redis needs no statement; it stays queued."""
    run = FeatureRun.objects.create(feature="shop.buy", queue="default", state=RunState.QUEUED, dispatch_no=1)

    with django_assert_num_queries(0):
        answer = dispatch.enqueue(run, timeout=660)

    assert answer is True
    assert FeatureRun.objects.get().state == RunState.QUEUED


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
def test_a_run_that_is_not_in_redis_is_pending(settings, state):
    """D5: a run that cannot be enqueued is pending, for the relay; but not if a worker has taken it."""
    settings.RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": free_port()}}
    run = FeatureRun.objects.create(feature="shop.buy", queue="default", state=state, dispatch_no=1)

    assert dispatch.enqueue(run, timeout=660) is False

    left = {RunState.QUEUED: RunState.PENDING}.get(state, state)
    assert (run.state, FeatureRun.objects.get().state) == (left, left)


@pytest.fixture
def hole():
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


DOWN = {
    "host": (lambda hole: {"HOST": "127.0.0.1", "PORT": free_port()}, RedisConnectionError),
    "URL": (lambda hole: {"URL": f"redis://127.0.0.1:{free_port()}/0"}, RedisConnectionError),
    "socket": (lambda hole: {"UNIX_SOCKET_PATH": "/nowhere/redis.sock", "DB": 0}, RedisConnectionError),
    "sentinel": (lambda hole: {"SENTINELS": [("127.0.0.1", free_port())], "MASTER_NAME": "shop"}, MasterNotFoundError),
    "silent host": (lambda hole: {"HOST": "127.0.0.1", "PORT": hole}, RedisTimeoutError),
    "silent URL": (lambda hole: {"URL": f"redis://127.0.0.1:{hole}/0?socket_timeout=60"}, RedisTimeoutError),
    "silent sentinel": (
        lambda hole: {"SENTINELS": [("127.0.0.1", hole)], "MASTER_NAME": "shop"},
        MasterNotFoundError,
    ),
}


@pytest.mark.parametrize("case", DOWN)
@pytest.mark.timeout(20)
def test_a_redis_that_is_down_is_logged_and_signalled(settings, monkeypatch, failures, caplog, hole, case):
    """D5: if Redis is down or never answers, the call returns False, sends dispatch_failed and logs a warning."""
    where, kind = DOWN[case]
    settings.RQ_QUEUES = {"default": where(hole)}
    monkeypatch.setattr(queues, "SOCKET_TIMEOUT", 0.05)

    assert enqueued() is False

    [failure] = failures
    assert (failure.sender, failure.run_id, failure.feature) == (FeatureRun, RUN, "shop.buy")
    assert isinstance(failure.error, kind)
    assert f"dispatch failed run={RUN} feature=shop.buy error=" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ({"UNIX_SOCKET_PATH": "/nowhere/broker.sock", "DB": 0}, "Start the embedded broker: manage.py numflow_broker."),
        ({"UNIX_SOCKET_PATH": "/nowhere/redis.sock", "DB": 0}, "Start Redis, or correct its address in RQ_QUEUES."),
    ],
    ids=["embedded", "another"],
)
def test_a_broker_that_is_down_has_a_hint(settings, failures, caplog, where, hint):
    """D5: the warning says what to do about a broker that cannot be reached, as rqworker does."""
    settings.RQ_QUEUES = {"default": where}

    enqueued()

    assert failures[0].hint == hint
    assert caplog.messages[-1].endswith(f" hint='{hint}'; the run stays pending")


def test_a_failure_that_is_no_lost_connection_has_no_hint(settings, failures, caplog):
    """For a queue that is not in RQ_QUEUES, no broker has to be started; the error says what is wrong."""
    settings.RQ_QUEUES = {"mail": {"HOST": "127.0.0.1", "PORT": 1, "DB": 0}}

    enqueued()

    assert failures[0].hint == ""
    assert "hint=" not in caplog.text


def test_a_receiver_that_raises_changes_nothing():
    """D5: a receiver of dispatch_failed that raises does not make the call raise."""

    def fail(**facts):
        raise RuntimeError

    dispatch_failed.connect(fail)

    assert enqueued() is False


def late(run, *, timeout):
    raise RedisTimeoutError("late")


def test_after_a_failure_the_queue_is_paused(server, failures, clock, monkeypatch):
    """For three seconds after a failure no request waits for that Redis; then it is tried again."""
    with monkeypatch.context() as failing:
        failing.setattr(dispatch, "push", late)
        enqueued()

    clock.now += 2.9
    paused = enqueued()
    clock.now += 0.2
    again = enqueued()

    assert (paused, again) == (False, True)
    assert [type(failure.error).__name__ for failure in failures] == ["TimeoutError", "BrokerPaused"]
    assert str(failures[1].error) == "queue 'default': its Redis failed less than 3 s ago"
    assert server.llen("rq:queue:default") == 1


def test_a_paused_queue_does_not_prolong_its_pause(server, clock):
    """Calls during the pause do not prolong it: it ends three seconds after the last real failure."""
    note_failure("default", OSError("down"))

    answers = []
    for _ in range(4):
        clock.now += 1
        answers.append(enqueued())

    assert answers == [False, False, True, True]


def test_the_pause_is_of_one_queue(server, clock):
    """Another queue, whose Redis may be another one, is not paused."""
    note_failure("mail", RedisConnectionError("down"))

    assert (enqueued(queue="mail"), enqueued(queue="default")) == (False, True)


def test_a_queue_that_is_missing_is_a_failure(settings, failures, caplog):
    """A queue that is not in RQ_QUEUES is a failure that says so and names those that are, and pauses nothing."""
    settings.RQ_QUEUES = {"default": {}, "mail": {}}

    answers = [enqueued(queue="post"), enqueued(queue="post")]

    assert answers == [False, False]
    assert [type(failure.error) for failure in failures] == [ImproperlyConfigured] * 2
    assert str(failures[0].error) == "the queue 'post' is not in RQ_QUEUES (default, mail)"
    assert "the queue 'post' is not in RQ_QUEUES (default, mail)" in caplog.text
