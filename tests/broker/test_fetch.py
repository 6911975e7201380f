"""How a work-horse takes jobs from Redis: only ours, in order, and in batches."""

from uuid import UUID

import django_rq
import pytest
from rq.job import Job
from rq.suspension import resume, suspend

from numflow_django.broker.dispatch import enqueue
from numflow_django.broker.fetch import FetchedJob, Fetcher
from numflow_django.broker.job import FAILURE_TTL, job_id
from tests.broker.runs import run_of


@pytest.fixture
def queue(server):
    return django_rq.get_queue("default")


@pytest.fixture
def fetcher(queue, server):
    return Fetcher([queue], server, linger=0)


def enqueued(*numbers, queue="default"):
    """Enqueue runs with these numbers and return the ids of their jobs."""
    for number in numbers:
        assert enqueue(run_of(UUID(int=number), queue=queue), timeout=70)
    return [job_id(UUID(int=number), 1) for number in numbers]


def test_jobs_are_taken_in_order(fetcher, queue):
    """The oldest job comes first, with its own time limit, and is no longer in the queue."""
    first, second = enqueued(1, 2)

    assert fetcher.next([]) == [FetchedJob(first, 70)]
    assert queue.job_ids == [second]


def test_a_job_that_is_taken_is_known_until_it_is_done(fetcher, server):
    """The relay finds the hash of a job that was taken; the next call deletes it, and a dead worker's expires."""
    first, second = enqueued(1, 2)

    fetcher.next([])
    known, seconds_left = server.exists(Job.key_for(first)), server.ttl(Job.key_for(first))
    fetcher.next([first])

    assert (known, server.exists(Job.key_for(first))) == (1, 0)
    assert 0 < seconds_left <= FAILURE_TTL
    assert server.exists(Job.key_for(second))


@pytest.mark.parametrize(("waiting", "most", "taken"), [(40, 8, 8), (40, 16, 10), (3, 8, 1), (0, 8, 0)])
def test_a_portion_leaves_enough_for_others(fetcher, queue, waiting, most, taken):
    """A batch is at most a quarter of the queue, and at least one job."""
    names = enqueued(*range(waiting))

    assert [job.job_id for job in fetcher.next([], most=most)] == names[:taken]
    assert queue.job_ids == names[taken:]


def test_a_foreign_job_is_left_where_it_is(fetcher, queue):
    """A job that is not ours, and the jobs after it, are left to RQ, which refuses it."""
    [ours] = enqueued(1)
    foreign = queue.enqueue("os.getpid")
    enqueued(2)

    assert [job.job_id for job in fetcher.next([], most=16)] == [ours]
    assert fetcher.next([ours]) == []
    assert queue.job_ids[0] == foreign.id


def test_a_job_with_a_similar_id_is_foreign(fetcher, queue):
    """An id that begins like ours, but holds no run, is left to RQ: the work-horse could not read it."""
    queue.push_job_id("numflow-1-1")

    assert fetcher.next([]) == []
    assert queue.job_ids == ["numflow-1-1"]


def test_suspended_workers_take_nothing(fetcher, server):
    """``rq suspend`` holds for a work-horse, too."""
    names = enqueued(1)
    suspend(server)
    while_suspended = fetcher.next([])

    resume(server)

    assert while_suspended == []
    assert [job.job_id for job in fetcher.next([])] == names


def test_a_job_without_a_hash_is_taken(fetcher, server):
    """A job whose hash was deleted still announces its run."""
    [name] = enqueued(1)
    server.delete(Job.key_for(name))

    assert fetcher.next([]) == [FetchedJob(name, 60)]


def test_several_queues(server):
    """A worker of several queues takes from the first one that has a job."""
    fetcher = Fetcher([django_rq.get_queue("default"), django_rq.get_queue("mail")], server, linger=1)
    [mail] = enqueued(1, queue="mail")
    [default] = enqueued(2)

    assert [job.job_id for _ in range(3) for job in fetcher.next([])] == [default, mail]


def test_it_waits_for_one_more(queue, server):
    """A work-horse that lingers gets the next job as soon as it comes, and leaves nothing between the lists."""
    fetcher = Fetcher([queue], server, linger=5)
    [name] = enqueued(1)
    between = queue.intermediate_queue_key

    assert fetcher.wait_for_one() == [FetchedJob(name, 70)]
    assert (queue.job_ids, server.lrange(between, 0, -1)) == ([], [])


def test_a_foreign_job_that_comes_meanwhile_is_put_back(queue, server):
    """A job that is not ours is at the head of the queue again, for RQ's own way."""
    fetcher = Fetcher([queue], server, linger=5)
    foreign, after = queue.enqueue("os.getpid"), enqueued(1)

    assert fetcher.wait_for_one() == []
    assert queue.job_ids == [foreign.id, *after]
    assert server.lrange(queue.intermediate_queue_key, 0, -1) == []


def test_done_jobs_are_forgotten(fetcher, server):
    """The last jobs are deleted from Redis and no other one is taken."""
    names = enqueued(1, 2)
    fetcher.next([])

    fetcher.finish(names[:1])

    assert [server.exists(Job.key_for(name)) for name in names] == [0, 1]
