"""The work-horse's end of the pipe: jobs that arrive, and a worker that has ended."""

from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from numflow_django.worker import worker_pipe as module
from numflow_django.worker.work_horse import IDLE
from numflow_django.worker.worker_pipe import WorkerEnded, WorkerPipe


@pytest.fixture
def ends():
    worker, horse = Pipe()
    with worker, horse:
        yield worker, WorkerPipe(horse)


@pytest.fixture
def closed(monkeypatch):
    """How often idle connections were closed; IDLE_SECONDS is over at once."""
    calls = []
    monkeypatch.setattr(module, "IDLE_SECONDS", 0)
    monkeypatch.setattr(module, "close_connections", lambda: calls.append("closed"))
    return calls


def test_a_job_arrives(ends):
    """The job's id is received, and the pipe knows that it no longer waits."""
    worker, pipe = ends

    worker.send_bytes(b"numflow-1-1")

    assert pipe.receive() == "numflow-1-1"
    assert not pipe.is_waiting


def test_rest_is_reported(ends):
    """A work-horse without a job says so to its worker."""
    worker, pipe = ends

    pipe.report_idle()

    assert worker.recv_bytes() == IDLE


def test_a_worker_that_closes_the_pipe_has_ended(ends):
    """The end of the worker closes the pipe; until then the work-horse waits."""
    worker, pipe = ends

    worker.close()

    with pytest.raises(WorkerEnded):
        pipe.receive()
    assert pipe.is_waiting


def test_a_worker_that_is_no_longer_the_parent_has_ended(ends, closed, monkeypatch):
    """If another process holds the pipe open, a work-horse sees by its parent that its worker has ended."""
    _, pipe = ends
    monkeypatch.setattr(module, "os", SimpleNamespace(getppid=lambda: 1))

    with pytest.raises(WorkerEnded):
        pipe.receive()

    assert closed == ["closed"]


def test_idle_connections_are_closed(closed):
    """A work-horse that waits closes its database connections, and still receives the next job."""
    arrived = iter([False, False, True])
    pipe = WorkerPipe(SimpleNamespace(poll=lambda seconds: next(arrived), recv_bytes=lambda: b"later"))

    assert (pipe.receive(), closed) == ("later", ["closed", "closed"])
