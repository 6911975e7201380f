"""What the relay asks Redis about the jobs of runs."""

from uuid import UUID

from rq.intermediate_queue import IntermediateQueue

from numflow_django.broker import lookup
from numflow_django.broker.job import job_id
from tests.broker.runs import RUN, enqueued

RUNS = [UUID(int=number) for number in range(1, 5)]
ANNOUNCED = [(run_id, 1) for run_id in RUNS]
BETWEEN = IntermediateQueue.get_intermediate_queue_key("rq:queue:default")


def test_the_runs_that_have_a_job(server):
    """A run counts if Redis has its job, under the number that is asked for."""
    enqueued(RUNS[0])
    enqueued(RUNS[1], dispatch_no=2)

    assert lookup.runs_with_job("default", ANNOUNCED) == {RUNS[0]}


def test_a_job_that_was_taken_and_never_started_does_not_count(server):
    """RQ can lose a job between taking it and starting it: with the list, only what is in it counts."""
    for run_id in RUNS[:2]:
        enqueued(run_id)
    server.lpop("rq:queue:default")

    assert lookup.runs_with_job("default", ANNOUNCED) == {RUNS[0], RUNS[1]}
    assert lookup.runs_with_job("default", ANNOUNCED, listed=lookup.listed_jobs("default")) == {RUNS[1]}


def test_a_job_that_came_after_the_list_was_read_counts(server):
    """A job that was enqueued while the list was read, or that moved past the reader, is asked for by itself."""
    listed = lookup.listed_jobs("default")
    enqueued(RUNS[0])

    assert listed == set()
    assert lookup.runs_with_job("default", ANNOUNCED, listed=listed) == {RUNS[0]}


def test_a_long_list_is_read_in_portions(server, monkeypatch):
    """All jobs of a list longer than a portion are listed."""
    monkeypatch.setattr(lookup, "PORTION", 3)
    for number in range(1, 8):
        enqueued(dispatch_no=number)

    assert lookup.listed_jobs("default") == {job_id(RUN, number) for number in range(1, 8)}


def test_a_stuck_job_is_put_back(server):
    """A job that is in RQ's intermediate queue at two looks is put back; a foreign one stays there."""
    enqueued()
    server.lmove("rq:queue:default", BETWEEN)
    server.rpush(BETWEEN, "foreign")

    seen = lookup.requeue_stuck("default", lookup.NO_JOBS)
    at_first = server.llen("rq:queue:default")
    after = lookup.requeue_stuck("default", seen)

    assert (seen, at_first, after) == ({job_id(RUN, 1)}, 0, set())
    assert server.lrange("rq:queue:default", 0, -1) == [job_id(RUN, 1).encode()]
    assert server.lrange(BETWEEN, 0, -1) == [b"foreign"]
