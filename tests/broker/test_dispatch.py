"""How a run is enqueued in Redis, and what happens to a request when Redis is down."""

import socket
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from redis import BlockingConnectionPool, Redis, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError
from rq.job import Job
from rq.serializers import JSONSerializer

from numflow_django.broker import dispatch
from numflow_django.models import FeatureRun
from numflow_django.signals import dispatch_failed
from tests.support.brokers import free_port, registered_worker

RUN = UUID("01a200bc-b1e0-7370-a911-da0a90f78020")


def ring(**facts):
    default = {"run_id": RUN, "dispatch_no": 1, "queue": "default", "timeout": 660, "feature": "shop.buy"}
    return dispatch.ring(**default | facts)


@pytest.fixture
def failures():
    """The facts that dispatch_failed was sent with."""
    told = []

    def receive(**facts):
        told.append(SimpleNamespace(**facts))

    dispatch_failed.connect(receive)
    return SimpleNamespace(told=told, receive=receive)


@pytest.fixture
def clock(monkeypatch):
    """The time of the pauses, set by hand."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(dispatch, "monotonic", lambda: clock.now)
    return clock


# The job


@pytest.mark.django_db
def test_a_queue_that_is_not_async_runs_at_once(server, settings, monkeypatch):
    """With ``ASYNC = False`` in RQ_QUEUES, as sites set it for tests, the run executes where it is enqueued."""
    settings.RQ_QUEUES = {"mail": settings.RQ_QUEUES["mail"] | {"ASYNC": False}}
    served = []
    monkeypatch.setattr("numflow_django.jobs.run_feature", lambda *args: served.append(args))

    assert ring(queue="mail")

    assert served == [(str(RUN), 1)]
    assert server.llen("rq:queue:mail") == 0


@pytest.mark.parametrize("serializer", [None, "rq.serializers.JSONSerializer"])
def test_the_job_is_only_a_doorbell(server, settings, serializer):
    """The job names our one function and carries the run's id and the number of the dispatch, and nothing else."""
    if serializer:
        settings.RQ_QUEUES = {"mail": settings.RQ_QUEUES["mail"] | {"SERIALIZER": serializer}}

    assert ring(queue="mail", dispatch_no=3)

    [name] = server.lrange("rq:queue:mail", 0, -1)
    job = Job.fetch(name.decode(), server, serializer=JSONSerializer if serializer else None)
    assert job.id == f"numflow-{RUN.hex}-3"
    assert (job.func_name, tuple(job.args), job.kwargs) == ("numflow_django.jobs.run_feature", (str(RUN), 3), {})
    assert (job.timeout, job.result_ttl, job.failure_ttl, job.ttl) == (660, 0, 86_400, None)
    assert (job.origin, job.description) == ("mail", "shop.buy")
    assert job.retries_left is None


def test_the_same_bell_is_rung_once(server):
    """Enqueuing the same number a second time is refused by Redis and counts as a success."""
    rung = [ring(), ring()]

    assert rung == [True, True]
    assert server.llen("rq:queue:default") == 1


def test_the_next_number_is_another_bell(server):
    """The next dispatch number is another job."""
    ring(dispatch_no=1)
    ring(dispatch_no=2)

    names = server.lrange("rq:queue:default", 0, -1)
    assert [name.decode() for name in names] == [f"numflow-{RUN.hex}-1", f"numflow-{RUN.hex}-2"]


def test_a_bell_that_redis_lost_can_be_rung_again(server):
    """When Redis has lost everything, the same number can be enqueued again."""
    ring()
    server.flushall()

    rung = ring()

    assert rung
    assert server.llen("rq:queue:default") == 1


@pytest.mark.parametrize("mode", [{}, {"COMMIT_MODE": "request_finished"}, {"COMMIT_MODE": "on_db_commit"}])
@pytest.mark.django_db
def test_the_bell_rings_at_once(server, settings, mode):
    """django-rq's commit mode does not delay the job: the run has committed, whatever else is open."""
    settings.RQ = mode

    with transaction.atomic():
        ring()
        length = server.llen("rq:queue:default")

    assert length == 1


# The connection

FORMS = {
    "socket": lambda server: {"UNIX_SOCKET_PATH": server.socket_path, "DB": 0},
    "socket URL": lambda server: {"URL": f"unix://{server.socket_path}?db=0"},
    "URL": lambda server: {"URL": f"redis://127.0.0.1:{server.port}/0"},
    "URL with options": lambda server: {"URL": f"redis://127.0.0.1:{server.port}/0?socket_timeout=60", "DB": 0},
    "host": lambda server: {"HOST": "127.0.0.1", "PORT": server.port, "DB": 0},
    "host with options": lambda server: {
        "HOST": "localhost",
        "PORT": server.port,
        "REDIS_CLIENT_KWARGS": {"socket_timeout": 60, "client_name": "shop"},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_address_works(server, settings, form):
    """RQ_QUEUES may name the server by socket, URL or host."""
    settings.RQ_QUEUES = {"default": FORMS[form](server)}

    assert ring()
    assert server.llen("rq:queue:default") == 1


@pytest.mark.parametrize("form", FORMS)
def test_every_connection_is_impatient(server, settings, form):
    """A user waits for Redis: whatever the settings say, timeouts are short and there are no retries."""
    settings.RQ_QUEUES = {"default": FORMS[form](server)}

    connection = dispatch._queue("default").connection.connection_pool.make_connection()

    assert (connection.socket_connect_timeout, connection.socket_timeout) == (0.25, 0.5)
    assert connection.retry.get_retries() == 0
    assert not connection.retry_on_error


def test_the_other_options_of_the_address_are_kept(settings):
    """Database, password, name and encryption of the settings are those of the connection."""
    settings.RQ_QUEUES = {
        "default": {
            "HOST": "redis.example.com",
            "PORT": 6380,
            "DB": 3,
            "USERNAME": "shop",
            "PASSWORD": "pass",
            "SSL": True,
            "REDIS_CLIENT_KWARGS": {"client_name": "web"},
        }
    }

    connection = dispatch._queue("default").connection.connection_pool.make_connection()

    assert isinstance(connection, SSLConnection)
    assert (connection.host, connection.port, connection.db) == ("redis.example.com", 6380, 3)
    assert (connection.username, connection.password, connection.client_name) == ("shop", "pass", "web")


def test_sentinels_are_asked_impatiently_too(settings):
    """Behind Sentinel both the sentinels and the master have short timeouts and no retries."""
    settings.RQ_QUEUES = {
        "default": {
            "SENTINELS": [("127.0.0.1", 1), ("127.0.0.1", 2)],
            "MASTER_NAME": "shop",
            "DB": 3,
            "SENTINEL_KWARGS": {"socket_timeout": 60},
        }
    }

    pool = dispatch._queue("default").connection.connection_pool

    sentinels = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    assert len(sentinels) == 2
    for connection in [each.make_connection() for each in (pool, *sentinels)]:
        assert (connection.socket_connect_timeout, connection.socket_timeout) == (0.25, 0.5)
        assert connection.retry.get_retries() == 0
    assert pool.make_connection().db == 3


def test_a_cache_that_shares_the_queues_redis_stays_patient(monkeypatch):
    """The pool that the settings give, which may be the site cache's, is left as it is."""
    pool = BlockingConnectionPool(host="127.0.0.1", port=1, socket_timeout=60)
    monkeypatch.setattr(dispatch, "get_connection", lambda name: Redis(connection_pool=pool))

    ours = dispatch._queue("default").connection.connection_pool

    assert pool.connection_kwargs["socket_timeout"] == 60
    assert ours.connection_kwargs["socket_timeout"] == 0.5


def test_the_queue_is_kept(server):
    """A process uses one connection to Redis for all jobs, not a new one for each."""
    before = server.info("stats")["total_connections_received"]

    for number in range(1, 6):
        ring(dispatch_no=number)

    assert server.info("stats")["total_connections_received"] == before + 1


def test_a_connection_that_redis_has_closed_is_renewed(server):
    """A restart of Redis between two jobs loses neither."""
    ring(dispatch_no=1)
    server.client_kill_filter(_type="normal", skipme=True)

    assert ring(dispatch_no=2)


@pytest.mark.parametrize("setting", ["RQ_QUEUES", "RQ"])
def test_a_change_of_the_settings_makes_a_new_queue(server, settings, setting):
    """override_settings of RQ_QUEUES or RQ takes effect for the next job and ends the pause after a failure."""
    queue = dispatch._queue("default")
    dispatch._note_failure("default", OSError())

    setattr(settings, setting, dict(getattr(settings, setting, {})))

    assert dispatch._queue("default") is not queue
    assert ring()


def test_a_change_of_other_settings_keeps_the_queue(server, settings):
    """A setting that is not about the queues leaves them alone."""
    queue = dispatch._queue("default")

    settings.NUMFLOW = {"QUEUE": "mail"}

    assert dispatch._queue("default") is queue


# Redis is away


@pytest.fixture
def hole():
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


AWAY = {
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


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.timeout(20)
def test_a_redis_that_is_away_is_told_and_logged(settings, monkeypatch, failures, caplog, hole, away):
    """D5: if Redis is down or never answers, the call returns False, sends dispatch_failed and logs a warning."""
    where, kind = AWAY[away]
    settings.RQ_QUEUES = {"default": where(hole)}
    monkeypatch.setattr(dispatch, "SOCKET_TIMEOUT", 0.05)

    rung = ring()

    assert rung is False
    [failure] = failures.told
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
def test_a_broker_that_is_away_has_a_hint(settings, failures, caplog, where, hint):
    """D5: the warning says what to do about a broker that cannot be reached, as rqworker does."""
    settings.RQ_QUEUES = {"default": where}

    ring()

    assert failures.told[0].hint == hint
    assert caplog.messages[-1].endswith(f" hint='{hint}'; the run stays pending")


def test_a_failure_that_is_no_lost_connection_has_no_hint(settings, failures, caplog):
    """A queue that is not in RQ_QUEUES is not helped by a broker; the error says itself what is wrong."""
    settings.RQ_QUEUES = {"mail": {"HOST": "127.0.0.1", "PORT": 1, "DB": 0}}

    ring()

    assert failures.told[0].hint == ""
    assert "hint=" not in caplog.text


def test_a_receiver_that_raises_changes_nothing():
    """D5: a receiver of dispatch_failed that raises does not make the call raise."""

    def fail(**facts):
        raise RuntimeError

    dispatch_failed.connect(fail)

    assert ring() is False


def test_after_a_failure_the_queue_is_left_alone_for_a_while(server, failures, clock, monkeypatch):
    """For three seconds after a failure no request waits for that Redis; then it is tried again."""
    with monkeypatch.context() as away:
        away.setattr(dispatch, "_enqueue", lambda *facts: (_ for _ in ()).throw(RedisTimeoutError("late")))
        ring()

    clock.now += 2.9
    paused = ring()
    clock.now += 0.2
    rung = ring()

    assert (paused, rung) == (False, True)
    assert [type(failure.error).__name__ for failure in failures.told] == ["TimeoutError", "BrokerPaused"]
    assert str(failures.told[1].error) == "queue 'default': its Redis failed less than 3 s ago"
    assert server.llen("rq:queue:default") == 1


def test_a_paused_queue_does_not_prolong_its_pause(server, clock):
    """Calls during the pause do not prolong it: it ends three seconds after the last real failure."""
    dispatch._note_failure("default", OSError("away"))

    rung = []
    for _ in range(4):
        clock.now += 1
        rung.append(ring())

    assert rung == [False, False, True, True]


def test_the_pause_is_of_one_queue(server, clock):
    """Another queue, whose Redis may be another one, is not paused."""
    dispatch._note_failure("mail", RedisConnectionError("away"))

    assert (ring(queue="mail"), ring(queue="default")) == (False, True)


def test_a_queue_that_is_missing_is_told(settings, failures, caplog):
    """A queue that is not in RQ_QUEUES is a failure that says so and names those that are, and pauses nothing."""
    settings.RQ_QUEUES = {"default": {}, "mail": {}}

    rung = [ring(queue="post"), ring(queue="post")]

    assert rung == [False, False]
    assert [type(failure.error) for failure in failures.told] == [ImproperlyConfigured] * 2
    assert str(failures.told[0].error) == "the queue 'post' is not in RQ_QUEUES (default, mail)"
    assert "the queue 'post' is not in RQ_QUEUES (default, mail)" in caplog.text


# What the relay asks


def test_a_mark_shows_that_redis_has_lost_its_data(server):
    """The first mark is missing, the next one exists, and after a flush it is missing again, for each queue."""
    marks = [dispatch.mark("default"), dispatch.mark("default"), dispatch.mark("mail")]
    server.flushall()

    assert [*marks, dispatch.mark("default")] == [True, False, True, True]
    assert server.ttl("numflow:mark:default") == -1


def test_a_mark_that_is_taken_away_is_missing(server):
    """A relay that could not check everything deletes the mark for the next one."""
    dispatch.mark("default")

    dispatch.unmark("default")

    assert dispatch.mark("default") is True


RUNS = [UUID(int=number) for number in range(1, 5)]
BELLS = [(run_id, 1) for run_id in RUNS]


def test_what_redis_knows(server):
    """Known are the runs whose job Redis has, under the number that is asked for."""
    ring(run_id=RUNS[0])
    ring(run_id=RUNS[1], dispatch_no=2)

    assert dispatch.known("default", BELLS) == {RUNS[0]}


def test_a_job_that_was_taken_and_never_started_is_not_known(server):
    """RQ can lose a job between taking it and starting it: with the list, only what is in it counts."""
    for run_id in RUNS[:2]:
        ring(run_id=run_id)
    server.lpop("rq:queue:default")

    assert dispatch.known("default", BELLS) == {RUNS[0], RUNS[1]}
    assert dispatch.known("default", BELLS, listed=dispatch.listed("default")) == {RUNS[1]}


def test_a_job_that_came_after_the_list_was_read_is_known(server):
    """What was enqueued while the list was read, or slipped past it, is asked for by itself."""
    listed = dispatch.listed("default")
    ring(run_id=RUNS[0])

    assert listed == set()
    assert dispatch.known("default", BELLS, listed=listed) == {RUNS[0]}


def test_a_long_list_is_read_in_portions(server, monkeypatch):
    """All jobs of a list longer than a portion are listed."""
    monkeypatch.setattr(dispatch, "PORTION", 3)
    for number in range(1, 8):
        ring(dispatch_no=number)

    assert dispatch.listed("default") == {f"numflow-{RUN.hex}-{number}" for number in range(1, 8)}


def test_the_workers_of_a_queue(server, settings):
    """Registered workers are counted for each queue, without those that were killed and have expired."""
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"sync": settings.RQ_QUEUES["mail"] | {"ASYNC": False}}
    nobody = dispatch.worker_count("default")
    killed, stopped, _ = (registered_worker(server, "default") for _ in range(3))
    server.delete(killed.key)
    stopped.register_death()

    assert (nobody, dispatch.worker_count("default"), dispatch.worker_count("mail")) == (0, 1, 0)
    assert dispatch.worker_count("sync") is None


def test_what_starts_a_worker():
    """The command can be pasted into a shell."""
    assert dispatch.worker_command("mail") == "manage.py rqworker mail"
    assert dispatch.worker_command("night shift") == "manage.py rqworker 'night shift'"


def test_one_at_a_time_takes_the_turn(server):
    """One worker takes a turn for all until it expires; each queue has its own turn."""
    taken = [dispatch.take_turn("default", 60), dispatch.take_turn("default", 60), dispatch.take_turn("mail", 60)]
    left = server.pttl("numflow:turn:default")
    server.delete("numflow:turn:default")

    assert [*taken, dispatch.take_turn("default", 60)] == [True, False, True, True]
    assert 0 < left <= 60_000


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda: dispatch.mark("default"), None),
        (lambda: dispatch.unmark("default"), None),
        (lambda: dispatch.listed("default"), None),
        (lambda: dispatch.known("default", BELLS), None),
        (lambda: dispatch.known("default", BELLS, listed=set()), None),
        (lambda: dispatch.take_turn("default", 60), False),
        (lambda: dispatch.worker_count("default"), None),
    ],
    ids=["mark", "unmark", "listed", "known", "known in the list", "take_turn", "worker_count"],
)
def test_a_redis_that_is_away_gives_no_answer(settings, ask, answer):
    """No question of the relay raises while Redis is down, and the queue is left alone for a while."""
    settings.RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": free_port()}}

    assert ask() is answer
    assert dispatch.is_paused("default")


def test_a_pause_ends(clock):
    """A queue is paused for three seconds after a failure, and others are not."""
    dispatch._note_failure("default", OSError("away"))

    paused = [dispatch.is_paused("default"), dispatch.is_paused("mail")]
    clock.now += 3

    assert [*paused, dispatch.is_paused("default")] == [True, False, False]
