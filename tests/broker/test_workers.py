"""The workers of a queue."""

import pytest

from numflow_django.broker.workers import worker_command, worker_count
from tests.support.brokers import registered_worker


def test_the_workers_of_a_queue(server, settings):
    """Registered workers are counted for each queue, without those that were killed and have expired."""
    settings.RQ_QUEUES = settings.RQ_QUEUES | {"sync": settings.RQ_QUEUES["mail"] | {"ASYNC": False}}
    at_first = worker_count("default")
    killed, stopped, _ = (registered_worker(server, "default") for _ in range(3))
    server.delete(killed.key)
    stopped.register_death()

    assert (at_first, worker_count("default"), worker_count("mail")) == (0, 1, 0)
    assert worker_count("sync") is None


@pytest.mark.parametrize(
    ("queue", "command"),
    [("mail", "manage.py rqworker mail"), ("night shift", "manage.py rqworker 'night shift'")],
)
def test_what_starts_a_worker(queue, command):
    """The command can be pasted into a shell."""
    assert worker_command(queue) == command
