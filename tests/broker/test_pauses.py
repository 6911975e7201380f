"""A queue whose Redis has failed is not tried for a while."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from numflow_django.broker import lookup, marks, workers
from numflow_django.broker.pauses import (
    BrokerPaused,
    is_paused,
    note_failure,
    on_failure,
    refuse_if_paused,
    without_pauses,
)
from tests.broker.runs import RUN
from tests.support.brokers import free_port

PAUSING = [RedisConnectionError("down"), RedisTimeoutError("late"), OSError("no route")]


@pytest.mark.parametrize("error", PAUSING, ids=repr)
def test_a_pause_ends(clock, error):
    """A queue is paused for three seconds after a failure, and others are not."""
    note_failure("default", error)

    paused = [is_paused("default"), is_paused("mail")]
    clock.now += 3

    assert [*paused, is_paused("default")] == [True, False, False]


def test_another_error_pauses_nothing():
    """An error that is not of Redis or of the connection to it does not pause the queue."""
    note_failure("default", ValueError("no such queue"))

    assert not is_paused("default")


def test_a_paused_queue_is_refused(clock):
    """During its pause a queue is refused, with a message that says why."""
    refuse_if_paused("default")
    note_failure("default", OSError("down"))

    with pytest.raises(BrokerPaused, match=r"^queue 'default': its Redis failed less than 3 s ago$"):
        refuse_if_paused("default")


def test_a_block_without_pauses():
    """In the block no queue is paused; after it, the pauses are those before it."""
    note_failure("mail", OSError("down"))

    with without_pauses():
        inside = is_paused("mail")
        note_failure("default", OSError("down"))

    assert (inside, is_paused("mail"), is_paused("default")) == (False, True, False)


def test_an_error_becomes_the_default_answer():
    """A decorated question returns its answer, or after any error the default one; an error of Redis is noted."""
    errors = iter([None, ValueError("odd"), OSError("down")])

    @on_failure("nothing")
    def ask(queue, *, what):
        if error := next(errors):
            raise error
        return f"{what} of {queue}"

    answers = [(ask("mail", what="jobs"), is_paused("mail")) for _ in range(3)]

    assert answers == [("jobs of mail", False), ("nothing", False), ("nothing", True)]


ANNOUNCED = [(RUN, 1)]


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda: marks.set_mark("default"), None),
        (lambda: marks.delete_mark("default"), None),
        (lambda: marks.take_turn("default", 60), False),
        (lambda: workers.worker_count("default"), None),
        (lambda: lookup.listed_jobs("default"), None),
        (lambda: lookup.runs_with_job("default", ANNOUNCED), None),
        (lambda: lookup.runs_with_job("default", ANNOUNCED, listed=set()), None),
        (lambda: lookup.requeue_stuck("default", lookup.NO_JOBS), lookup.NO_JOBS),
    ],
    ids=[
        *("mark", "unmark", "take_turn", "worker_count"),
        *("listed_jobs", "runs_with_job", "runs_with_job in the list", "requeue_stuck"),
    ],
)
def test_no_question_raises_while_redis_is_down(settings, ask, answer):
    """No question of the relay raises while Redis is down, and the queue is paused."""
    settings.RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": free_port()}}

    assert ask() is answer
    assert is_paused("default")
