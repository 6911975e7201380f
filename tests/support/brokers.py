"""A real server for the tests that need Redis: the fixtures ``broker``, and ``server``, which is empty."""

import socket

import pytest
from redis import Redis
from rq import Worker

from numflow_django.embedded import EmbeddedBroker


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """A server for the session, at a unix socket and at ``broker.port``; ``client(broker)`` asks it."""
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as broker:
        broker.port = free_port()
        with client(broker) as redis:
            redis.config_set("bind", "127.0.0.1")
            redis.config_set("port", broker.port)
        yield broker


@pytest.fixture
def server(broker, settings):
    """The server, empty, with both queues on it."""
    where = {"UNIX_SOCKET_PATH": str(broker.socket_path), "DB": 0}
    settings.RQ_QUEUES = {"default": where, "mail": where}
    with client(broker) as redis:
        redis.flushall()
        redis.port, redis.socket_path = broker.port, str(broker.socket_path)
        yield redis


def registered_worker(server, queue):
    """An RQ worker of *queue* that has registered in *server* as at its start; it does no work."""
    worker = Worker([queue], connection=server)
    worker.register_birth()
    return worker


def client(broker):
    """A patient client of the tests' own."""
    return Redis(unix_socket_path=str(broker.socket_path))


def free_port():
    """A port of this host on which no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
