"""The work-horse: what it receives, how it answers, and what is known after its death."""

import os
import signal
import time

import pytest

from numflow_django.worker.work_horse import IDLE, WorkHorse
from tests.support.waiting import eventually


def obey(pipe, shared_status):
    """Do what a message says: rest, end, die, or sleep until killed."""
    while True:
        name = pipe.recv_bytes().decode()
        if name == "rest":
            shared_status.clear_running()
            pipe.send_bytes(IDLE)
        elif name == "end":
            shared_status.clear_running()
            return
        elif name == "exit":
            os._exit(3)
        elif name == "raise":
            raise ValueError("no")
        else:
            time.sleep(60)


@pytest.fixture
def horse():
    horse = WorkHorse(obey)
    yield horse
    if not horse.has_ended:
        os.kill(horse.pid, signal.SIGKILL)
        os.waitpid(horse.pid, 0)


def test_it_serves_again_and_again(horse):
    """An idle work-horse is sent the next job, and answers each time."""
    for _ in range(3):
        assert horse.send("rest", 60)
        assert horse.wait(10)

    assert (horse.wait_status, horse.shared_status.running) == (None, None)


def test_it_is_busy_until_it_answers(horse):
    """While it works, waiting ends without an answer, and the shared status has the job."""
    horse.send("sleep", 60)

    assert not horse.wait(0)
    running = horse.shared_status.running
    assert (running.job_id, running.limit, running.is_overdue) == ("sleep", 60, False)


@pytest.mark.parametrize(
    ("message", "status", "left"), [("end", 0, None), ("exit", 3 << 8, "exit"), ("raise", 256, "raise")]
)
def test_how_it_ended_is_known(horse, message, status, left):
    """The wait status of a dead work-horse is kept, and so is its last job."""
    horse.send(message, 60)

    eventually(lambda: horse.wait(1), message="It has not ended")

    running = horse.shared_status.running
    assert (horse.wait_status, running and running.job_id, horse.shared_status.taken) == (status, left, [message])


def test_one_that_was_killed_at_rest_takes_no_job(horse):
    """A job for a dead work-horse is refused, so that another one can take it."""
    os.kill(horse.pid, signal.SIGKILL)
    os.waitid(os.P_PID, horse.pid, os.WEXITED | os.WNOWAIT)

    assert not horse.send("rest", 60)
    assert (horse.wait_status, horse.shared_status.running) == (signal.SIGKILL, None)


def test_a_stop_is_asked_for_by_a_signal(horse):
    """A work-horse that is asked to stop gets SIGTERM; asking again after its end does nothing."""
    horse.stop_after_task()
    eventually(lambda: horse.wait(1), message="It has not ended")

    horse.stop_after_task()

    assert horse.wait_status == signal.SIGTERM


def test_it_is_killed(horse):
    """A work-horse that is killed ends, and its job is known."""
    assert horse.send("rest", 60)  # once it answers, it is in its own process group
    assert horse.wait(10)
    horse.send("sleep", 60)

    horse.kill()
    eventually(lambda: horse.wait(1), message="It has not ended")

    assert (horse.wait_status, horse.shared_status.running.job_id) == (signal.SIGKILL, "sleep")


def test_it_is_in_a_group_of_its_own(horse):
    """A signal for the worker's process group does not reach it."""
    horse.send("rest", 60)
    horse.wait(10)

    assert os.getpgid(horse.pid) == horse.pid != os.getpgrp()
