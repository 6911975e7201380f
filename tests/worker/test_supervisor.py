"""The supervisor of a work-horse: jobs reach it, a dead or stuck one is replaced or killed."""

import os
import signal
from contextlib import suppress

import pytest

from numflow_django.worker.shared_status import STUCK_SECONDS
from numflow_django.worker.supervisor import Supervisor
from numflow_django.worker.work_horse import IDLE
from tests.support.waiting import eventually


def work(pipe, shared_status):
    """Be idle after each job, and sleep in the job "stuck". The job "leave" leaves the process group."""
    with suppress(EOFError):  # its supervisor lets it end
        while True:
            job_id = pipe.recv_bytes()
            if job_id == b"stuck":
                signal.pause()
            if job_id == b"leave":
                os.setpgid(0, os.getpgid(os.getppid()))
            shared_status.clear_running()
            pipe.send_bytes(IDLE)


@pytest.fixture
def supervisor():
    supervisor = Supervisor(work)
    yield supervisor
    supervisor.end_after_run()
    # A test that failed must not leave its process behind
    with suppress(ChildProcessError):
        if supervisor.pid and os.waitpid(supervisor.pid, os.WNOHANG) == (0, 0):
            os.kill(supervisor.pid, signal.SIGKILL)


def ended(horse):
    eventually(lambda: horse.wait(1) and horse.has_ended, message="The work-horse has not ended")
    return horse.wait_status


def test_without_a_work_horse(supervisor):
    """Before the first fork there is no process; stopping or killing it does nothing, least of all to this process."""
    supervisor.stop_after_task()
    supervisor.kill()
    supervisor.kill_if_stuck()

    assert supervisor.pid == 0


def test_one_work_horse_gets_all_jobs(supervisor):
    """A job is sent to the work-horse that is there, and the first job forks it."""
    first = supervisor.send("one", 60)
    assert first.wait(10)

    assert supervisor.send("two", 60) is first
    assert first.wait(10)
    assert supervisor.pid == first.pid


def test_a_work_horse_that_died_at_rest_is_replaced(supervisor):
    """A job that a dead work-horse cannot take is sent to a new one."""
    dead = supervisor.fork()
    os.kill(dead.pid, signal.SIGKILL)
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)

    horse = supervisor.send("one", 60)

    assert horse.pid == supervisor.pid != dead.pid
    assert (dead.wait_status, dead.shared_status.running) == (signal.SIGKILL, None)


def test_a_stuck_work_horse_is_killed(supervisor, caplog):
    """A work-horse whose job has exceeded its limit is killed, and its job stays known."""
    horse = supervisor.send("one", 60)  # once it answers, it is in its own process group
    assert horse.wait(10)
    supervisor.send("stuck", -STUCK_SECONDS - 1)

    supervisor.kill_if_stuck()

    assert ended(horse) == signal.SIGKILL
    assert horse.shared_status.running.job_id == "stuck"
    assert caplog.messages == ["work-horse killed: job stuck did not end when its time was up"]
    supervisor.forget()
    assert supervisor.pid == 0


def test_a_work_horse_that_left_its_group_is_killed(supervisor):
    """A task may move the work-horse to another process group: it is killed, and the others of that group are not."""
    horse = supervisor.send("leave", 60)
    assert horse.wait(10)

    supervisor.kill()

    assert ended(horse) == signal.SIGKILL


def test_a_busy_work_horse_is_left_alone_within_its_limit(supervisor):
    """A work-horse is not killed before its job's limit, and stops when it is asked to."""
    horse = supervisor.send("stuck", 60)

    supervisor.kill_if_stuck()
    assert not horse.wait(0)
    supervisor.stop_after_task()

    assert ended(horse) == signal.SIGTERM
