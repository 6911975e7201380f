"""How the job of a run is put into Redis."""

import pytest
from django.db import transaction
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.broker.runs import RUN, enqueued


@pytest.mark.django_db
def test_a_queue_that_is_not_async_runs_at_once(server, settings, monkeypatch):
    """With ``ASYNC = False`` in RQ_QUEUES, as sites set it for tests, the run executes where it is enqueued."""
    settings.RQ_QUEUES = {"mail": settings.RQ_QUEUES["mail"] | {"ASYNC": False}}
    served = []
    monkeypatch.setattr("numflow_django.jobs.run_feature", lambda *args: served.append(args))

    assert enqueued(queue="mail")

    assert served == [(str(RUN), 1)]
    assert server.llen("rq:queue:mail") == 0


@pytest.mark.parametrize("serializer", [None, "rq.serializers.JSONSerializer"])
def test_what_the_job_carries(server, settings, serializer):
    """The job names our one function and carries the run's id and the number of the dispatch, and nothing else."""
    if serializer:
        settings.RQ_QUEUES = {"mail": settings.RQ_QUEUES["mail"] | {"SERIALIZER": serializer}}

    assert enqueued(queue="mail", dispatch_no=3)

    [name] = server.lrange("rq:queue:mail", 0, -1)
    job = Job.fetch(name.decode(), server, serializer=JSONSerializer if serializer else None)
    assert job.id == f"numflow-{RUN.hex}-3"
    assert (job.func_name, tuple(job.args), job.kwargs) == ("numflow_django.jobs.run_feature", (str(RUN), 3), {})
    assert (job.timeout, job.result_ttl, job.failure_ttl, job.ttl) == (660, 0, 86_400, None)
    assert (job.origin, job.description) == ("mail", "shop.buy")
    assert job.retries_left is None


def test_the_same_job_is_enqueued_once(server):
    """Enqueuing the same number a second time is refused by Redis and counts as a success."""
    answers = [enqueued(), enqueued()]

    assert answers == [True, True]
    assert server.llen("rq:queue:default") == 1


def test_the_next_number_is_another_job(server):
    """The next dispatch number is another job."""
    enqueued(dispatch_no=1)
    enqueued(dispatch_no=2)

    names = server.lrange("rq:queue:default", 0, -1)
    assert [name.decode() for name in names] == [f"numflow-{RUN.hex}-1", f"numflow-{RUN.hex}-2"]


def test_a_job_that_redis_lost_can_be_enqueued_again(server):
    """When Redis has lost everything, the same number can be enqueued again."""
    enqueued()
    server.flushall()

    assert enqueued()
    assert server.llen("rq:queue:default") == 1


@pytest.mark.parametrize("mode", [{}, {"COMMIT_MODE": "request_finished"}, {"COMMIT_MODE": "on_db_commit"}])
@pytest.mark.django_db
def test_the_job_is_enqueued_at_once(server, settings, mode):
    """django-rq's commit mode does not delay the job: the run has committed, whatever else is open."""
    settings.RQ = mode

    with transaction.atomic():
        enqueued()
        length = server.llen("rq:queue:default")

    assert length == 1
