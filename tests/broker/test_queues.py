"""The queues of RQ_QUEUES and their connections."""

import pytest
from redis import BlockingConnectionPool, Redis, SSLConnection

from numflow_django.broker import queues
from numflow_django.broker.pauses import note_failure
from numflow_django.broker.queues import queue_named
from tests.broker.runs import enqueued

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

    assert enqueued()
    assert server.llen("rq:queue:default") == 1


@pytest.mark.parametrize("form", FORMS)
def test_every_connection_has_short_timeouts(server, settings, form):
    """A user waits for Redis: whatever the settings say, timeouts are short and there are no retries."""
    settings.RQ_QUEUES = {"default": FORMS[form](server)}

    connection = queue_named("default").connection.connection_pool.make_connection()

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

    connection = queue_named("default").connection.connection_pool.make_connection()

    assert isinstance(connection, SSLConnection)
    assert (connection.host, connection.port, connection.db) == ("redis.example.com", 6380, 3)
    assert (connection.username, connection.password, connection.client_name) == ("shop", "pass", "web")


def test_sentinels_have_short_timeouts_too(settings):
    """Behind Sentinel both the sentinels and the master have short timeouts and no retries."""
    settings.RQ_QUEUES = {
        "default": {
            "SENTINELS": [("127.0.0.1", 1), ("127.0.0.1", 2)],
            "MASTER_NAME": "shop",
            "DB": 3,
            "SENTINEL_KWARGS": {"socket_timeout": 60},
        }
    }

    pool = queue_named("default").connection.connection_pool

    sentinels = [sentinel.connection_pool for sentinel in pool.sentinel_manager.sentinels]
    assert len(sentinels) == 2
    for connection in [each.make_connection() for each in (pool, *sentinels)]:
        assert (connection.socket_connect_timeout, connection.socket_timeout) == (0.25, 0.5)
        assert connection.retry.get_retries() == 0
    assert pool.make_connection().db == 3


def test_a_cache_that_shares_the_queues_redis_keeps_its_timeouts(monkeypatch):
    """The pool that the settings give, which may be the site cache's, is left as it is."""
    pool = BlockingConnectionPool(host="127.0.0.1", port=1, socket_timeout=60)
    monkeypatch.setattr(queues, "get_connection", lambda name: Redis(connection_pool=pool))

    ours = queue_named("default").connection.connection_pool

    assert pool.connection_kwargs["socket_timeout"] == 60
    assert ours.connection_kwargs["socket_timeout"] == 0.5


def test_the_queue_is_kept(server):
    """A process uses one connection to Redis for all jobs, not a new one for each."""
    before = server.info("stats")["total_connections_received"]

    for number in range(1, 6):
        enqueued(dispatch_no=number)

    assert server.info("stats")["total_connections_received"] == before + 1


def test_a_connection_that_redis_has_closed_is_renewed(server):
    """A restart of Redis between two jobs loses neither."""
    enqueued(dispatch_no=1)
    server.client_kill_filter(_type="normal", skipme=True)

    assert enqueued(dispatch_no=2)


@pytest.mark.parametrize("setting", ["RQ_QUEUES", "RQ"])
def test_a_change_of_the_settings_makes_a_new_queue(server, settings, setting):
    """override_settings of RQ_QUEUES or RQ takes effect for the next job and ends the pause after a failure."""
    queue = queue_named("default")
    note_failure("default", OSError())

    setattr(settings, setting, dict(getattr(settings, setting, {})))

    assert queue_named("default") is not queue
    assert enqueued()


def test_a_change_of_other_settings_keeps_the_queue(server, settings):
    """A setting that is not about the queues leaves them alone."""
    queue = queue_named("default")

    settings.NUMFLOW = {"QUEUE": "mail"}

    assert queue_named("default") is queue
