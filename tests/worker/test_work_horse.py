"""The work-horse: what it receives, how it answers, and what is known after its death."""

import os
import signal
import time

import pytest

from numflow_django.worker.shared_status import SharedStatus
from numflow_django.worker.work_horse import AT_REST, WorkHorse
from tests.support.waiting import eventually


def obey(pipe, board):
    """Do what a message says: rest, end, die, or sleep until killed."""
    while True:
        name = pipe.recv_bytes().decode()
        if name == "rest":
            board.wipe()
            pipe.send_bytes(AT_REST)
        elif name == "end":
            board.wipe()
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
    if horse.status is None:
        os.kill(horse.pid, signal.SIGKILL)
        os.waitpid(horse.pid, 0)


def test_it_serves_again_and_again(horse):
    """A work-horse at rest is sent the next job, and answers each time."""
    for _ in range(3):
        assert horse.send("rest", 60)
        assert horse.wait(10)

    assert (horse.status, horse.board.read()) == (None, None)


def test_it_is_busy_until_it_answers(horse):
    """While it works, waiting ends without an answer, and the shared status has the job."""
    horse.send("sleep", 60)

    assert not horse.wait(0)
    entry = horse.board.read()
    assert (entry.name, entry.limit, entry.is_overdue) == ("sleep", 60, False)


@pytest.mark.parametrize(
    ("message", "status", "left"), [("end", 0, None), ("exit", 3 << 8, "exit"), ("raise", 256, "raise")]
)
def test_how_it_ended_is_known(horse, message, status, left):
    """The wait status of a dead work-horse is kept, and so is its last job."""
    horse.send(message, 60)

    eventually(lambda: horse.wait(1), message="It has not ended")

    entry = horse.board.read()
    assert (horse.status, entry and entry.name, horse.board.taken) == (status, left, [message])


def test_one_that_was_killed_at_rest_takes_no_job(horse):
    """A job for a dead work-horse is refused, so that another one can take it."""
    os.kill(horse.pid, signal.SIGKILL)
    os.waitid(os.P_PID, horse.pid, os.WEXITED | os.WNOWAIT)

    assert not horse.send("rest", 60)
    assert (horse.status, horse.board.read()) == (signal.SIGKILL, None)


def test_it_is_in_a_group_of_its_own(horse):
    """A signal for the worker's process group does not reach it."""
    horse.send("rest", 60)
    horse.wait(10)

    assert os.getpgid(horse.pid) == horse.pid != os.getpgrp()


def test_the_board_tells_what_was_taken():
    """The shared status holds all ids of a batch, even the longest ones."""
    names = [f"numflow-{number:032x}-{10**20 + number}" for number in range(16)]
    board = SharedStatus()

    board.note_taken(names)
    board.write(names[3], 0)

    assert board.taken == names
    assert board.read().name == names[3]
    assert board.read().is_overdue
