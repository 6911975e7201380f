"""Queues that no worker serves, which the relay warns of."""

import logging
import re
from datetime import timedelta

import pytest

from numflow_django.db.timestamps import Now
from numflow_django.execution import unserved
from numflow_django.execution.relay import Relay
from numflow_django.models import RunState
from tests.support.brokers import free_port, registered_worker
from tests.support.relaying import LONG_AGO, enqueued, run_row
from tests.support.running import messages

pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.usefixtures("two_databases")]

NOT_SERVED = (
    "queue not served queue=mail runs=2 waited=NNs: no worker is registered for it; start manage.py rqworker mail"
)


def warnings(caplog):
    return [message for message in messages(caplog, logging.WARNING) if message.startswith("queue not served")]


def test_a_queue_without_a_worker_is_warned_of(relay_at_work, server, caplog):
    """Runs that have been queued for a minute while no worker is registered: the log says where, and what to start."""
    registered_worker(server, "default")
    for using in ("default", "other"):
        enqueued(run_row(ago=LONG_AGO, queue="mail", using=using))
        enqueued(run_row(ago=LONG_AGO, using=using))

    relay_at_work.tick()

    [warning] = warnings(caplog)
    assert re.sub("waited=36[0-9][0-9]s", "waited=NNs", warning) == NOT_SERVED


def test_a_worker_that_was_killed_serves_nothing(relay_at_work, server, caplog):
    """A worker whose key has expired is still listed by RQ, but no longer counts."""
    server.delete(registered_worker(server, "default").key)
    enqueued(run_row(ago=LONG_AGO))

    relay_at_work.tick()

    assert len(warnings(caplog)) == 1


def test_a_queue_without_a_worker_is_warned_of_once_a_minute(relay_at_work, server, clock, caplog):
    """However many relays look, and however often, a queue is warned of once a minute."""
    enqueued(run_row(ago=LONG_AGO))
    other = Relay()

    for _ in range(3):
        relay_at_work.tick()
        other.tick()
    in_one_minute = len(warnings(caplog))
    clock.now += unserved.UNSERVED_SECONDS
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
        enqueued(run_row(ago=LONG_AGO, queue=queue))
    run_row(RunState.RUNNING, queue="mail", lease_expires_at=Now() + timedelta(seconds=60))

    relay_at_work.tick()

    assert warnings(caplog) == []


def test_a_flush_is_not_taken_for_a_missing_worker(relay_at_work, server, caplog):
    """A flush of Redis also removes the workers' registrations; until they are back there is no warning."""
    enqueued(run_row(ago=LONG_AGO))
    server.flushall()

    relay_at_work.tick()

    assert warnings(caplog) == []


def test_a_redis_that_is_down_is_not_taken_for_a_missing_worker(settings, clock, caplog):
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
        for queue in ("default", "mail"):
            relay_at_work.unserved.warn(queue)
