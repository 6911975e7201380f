"""Look for the jobs of runs in Redis: the relay asks which of them are lost or stuck."""

from collections.abc import Set
from uuid import UUID

from rq import Queue
from rq.utils import as_text

from .job import is_job_id, job_id
from .pauses import on_failure
from .queues import queue_named

#: Job ids in one read of a queue's list.
PORTION = 5_000

NO_JOBS: frozenset[str] = frozenset()


@on_failure(NO_JOBS)
def requeue_stuck(queue: str, seen: Set[str]) -> Set[str]:
    """
    Move stuck jobs from RQ's intermediate queue back to the queue. Return the ids to pass as *seen* next time.

    RQ moves a job to the intermediate queue while a worker takes it. A job is stuck if it was *seen* there at the last
    call and is still there: the worker died, or its connection was dead. A run that is enqueued twice is claimed once.
    """
    rq_queue = queue_named(queue)
    connection, between = rq_queue.connection, rq_queue.intermediate_queue_key
    found = {name for name in map(as_text, connection.lrange(between, 0, -1)) if is_job_id(name)}
    for name in found & seen:
        with connection.pipeline() as pipeline:
            pipeline.lrem(between, 0, name)
            pipeline.lpush(rq_queue.key, name)
            pipeline.execute()
    return found - seen


@on_failure(None)
def listed_jobs(queue: str) -> set[str]:
    """Return the ids of all jobs in the queue's list, or None if Redis cannot be reached."""
    connection, key = queue_named(queue).connection, queue_named(queue).key
    ids: set[str] = set()
    start = 0
    while portion := connection.lrange(key, start, start + PORTION - 1):
        ids.update(map(as_text, portion))
        start += len(portion)
    return ids


@on_failure(None)
def runs_with_job(queue: str, announced_jobs: list[tuple[UUID, int]], *, listed: set[str] | None = None) -> set[UUID]:
    """
    Return the ids of the runs in *announced_jobs* (run id, dispatch number) that have a job in Redis.

    Return None if Redis cannot be reached. With *listed*, from :func:`listed_jobs`, a job counts only while it is in
    the queue's list, because RQ can lose a job between taking it and starting it.
    """
    ids = {job_id(run_id, number): run_id for run_id, number in announced_jobs}
    # The list changes while and after it is read, so ask for each job that was not in it. Only for those, because
    # Redis takes a millisecond to find one job in a list of 100,000
    unsure = [name for name in ids if listed is None or name not in listed]
    found = (_exist if listed is None else _are_listed)(queue_named(queue), unsure)
    missing = {name for name, is_there in zip(unsure, found, strict=True) if not is_there}
    return {run_id for name, run_id in ids.items() if name not in missing}


def _exist(queue: Queue, ids: list[str]) -> list[bool]:
    with queue.connection.pipeline(transaction=False) as pipeline:
        for name in ids:
            pipeline.exists(queue.job_class.key_for(name))
        return [bool(count) for count in pipeline.execute()]


def _are_listed(queue: Queue, ids: list[str]) -> list[bool]:
    with queue.connection.pipeline(transaction=False) as pipeline:
        for name in ids:
            pipeline.lpos(queue.key, name)
        return [position is not None for position in pipeline.execute()]
