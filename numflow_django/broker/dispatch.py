"""Enqueue runs as RQ jobs and ask Redis about them. A job carries only the run's id, so a lost job loses no data."""

import shlex
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import Any
from uuid import UUID

import django_rq
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django_rq.connection_utils import get_connection
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job, JobStatus
from rq.utils import as_text, now, utcformat
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from ..conf import conf
from ..embedded import broker_hint
from ..exceptions import NumflowError
from ..models import FeatureRun
from ..signals import dispatch_failed

#: The wire format: the function that RQ calls by name. Never rename it.
JOB = "numflow_django.jobs.run_feature"

#: The prefix of the ids of our jobs.
NAME = "numflow-"

#: A key in each queue's Redis. If it is missing, Redis has lost its data.
MARK = "numflow:mark:%s"

#: A key that exists while one worker has taken the relay's turn.
TURN = "numflow:turn:%s"

#: A key that exists while the warning about a queue must not be repeated.
WARNED = "numflow:warned:%s"

#: Count the workers of a queue: the members of KEYS[1] whose own keys exist. The key of a killed worker expires, but RQ
#: removes the worker from KEYS[1] only when another worker cleans up.
COUNT_WORKERS = """
local count = 0
for _, worker in ipairs(redis.call("SMEMBERS", KEYS[1])) do count = count + redis.call("EXISTS", worker) end
return count
"""

#: Push the job ARGV[1] unless it exists. ARGV[2] is RQ's set of queues, ARGV[3] the job's call, ARGV[4] the time now,
#: ARGV[5], ... the fields and values that all jobs of a feature share.
PUSH_JOB = """
if redis.call("EXISTS", KEYS[2]) == 1 then return 0 end
redis.call("HSET", KEYS[2], "data", ARGV[3], "created_at", ARGV[4], "enqueued_at", ARGV[4], unpack(ARGV, 5))
redis.call("SADD", ARGV[2], KEYS[1])
redis.call("RPUSH", KEYS[1], ARGV[1])
return 1
"""

#: The most seconds that a request waits for Redis: to connect, and for an answer.
CONNECT_TIMEOUT = 0.25
SOCKET_TIMEOUT = 0.5

#: Seconds after a failure of Redis in which its queue is not tried, so that requests do not wait one after another.
PAUSE = 3.0

#: Seconds that a job which RQ gave up stays in its failed registry; our own record is the task log.
FAILURE_TTL = 86_400

#: Job ids in one read of a queue's list.
PORTION = 5_000

_paused_until: dict[str, float] = {}
_lock = Lock()


class BrokerPaused(NumflowError):
    """The queue's Redis failed less than ``PAUSE`` seconds ago, so it is not tried again yet."""


def ring(*, run_id: UUID, dispatch_no: int, queue: str, timeout: int, feature: str) -> bool:
    """
    Enqueue the job of a run. Return whether it is in Redis now.

    Never raise: after a failure, log it and send ``dispatch_failed``; the relay enqueues the run later. *timeout* is
    RQ's limit for the whole run, in seconds.
    """
    try:
        _pause_or_pass(queue)
        _enqueue(run_id, dispatch_no, queue, timeout, feature)
    except DuplicateJobError:
        return True
    except Exception as error:  # noqa: BLE001 - a missing queue or Redis must not change the response
        _note_failure(queue, error)
        hint = broker_hint(error) if isinstance(error, RedisConnectionError) else ""
        dispatch_failed.send_robust(sender=FeatureRun, run_id=run_id, feature=feature, error=error, hint=hint)
        return False
    return True


def _enqueue(run_id: UUID, dispatch_no: int, queue: str, timeout: int, feature: str) -> None:
    """
    Do what RQ's enqueue_call(unique=True) does, in one round trip instead of two.

    Raise DuplicateJobError if the job is in Redis already.
    """
    name, args, rq_queue = job_id(run_id, dispatch_no), (str(run_id), dispatch_no), _queue(queue)
    if not rq_queue.is_async:
        # ASYNC = False in RQ_QUEUES: RQ runs the job in this process
        rq_queue.enqueue_call(JOB, args, timeout=timeout, result_ttl=0, description=feature, job_id=name)
        return
    # RQ would also read compressed data, but compression would make this short text longer
    call = rq_queue.serializer.dumps((JOB, None, args, {}))
    facts: list[str | bytes] = [
        name,
        Queue.redis_queues_keys,
        call,
        utcformat(now()),
        *_common(queue, timeout, feature),
    ]
    if not _push_script(queue)(keys=[rq_queue.key, Job.key_for(name)], args=facts):
        raise DuplicateJobError(f"the job {name} is in Redis already")


@lru_cache(maxsize=1024)
def _common(queue: str, timeout: int, feature: str) -> list[bytes]:
    """Return the fields and values, in turn, that RQ stores for every job of a feature."""
    options: dict[str, Any] = {"timeout": timeout, "result_ttl": 0, "failure_ttl": FAILURE_TTL, "description": feature}
    job = _queue(queue).create_job(JOB, args=(), status=JobStatus.QUEUED, **options)
    job.origin = queue
    own = ("data", "created_at", "enqueued_at")
    fields = {name: value for name, value in job.to_dict().items() if name not in own and value not in (None, "")}
    encoder = _queue(queue).connection.get_encoder()
    return [encoder.encode(part) for pair in fields.items() for part in pair]  # type: ignore[no-untyped-call]


@lru_cache(maxsize=64)
def _push_script(queue: str) -> Script:
    return _queue(queue).connection.register_script(PUSH_JOB)


def job_id(run_id: UUID, dispatch_no: int) -> str:
    """Return the id of the RQ job for a run and its dispatch number."""
    return f"{NAME}{run_id.hex}-{dispatch_no}"


def _pause_or_pass(queue: str) -> None:
    if is_paused(queue):
        raise BrokerPaused(f"queue {queue!r}: its Redis failed less than {PAUSE:g} s ago")


def _note_failure(queue: str, error: Exception) -> None:
    if isinstance(error, RedisError | OSError):
        with _lock:
            _paused_until[queue] = monotonic() + PAUSE


@lru_cache(maxsize=64)
def _queue(name: str) -> Queue:
    """Return the queue *name*. It is cached, because a new one for each job would open a new connection each time."""
    if name not in conf.queues:
        raise ImproperlyConfigured(f"the queue {name!r} is not in RQ_QUEUES ({', '.join(sorted(conf.queues))})")
    # "auto" enqueues at once: the run's transaction has committed already, in whichever database
    return django_rq.get_queue(name, commit_mode="auto", connection=_impatient(name))


def _impatient(name: str) -> Redis:
    """Return the queue's connection with short timeouts and no retries, because a user waits for it."""
    connection = get_connection(name)
    pool = connection.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        # Keep this pool: its class asks the sentinels for the master, and nothing else shares it
        for client in (connection, *pool.sentinel_manager.sentinels):
            client.connection_pool.connection_kwargs.update(_impatience())
        return connection
    # A separate pool, because the site's cache may share the queue's pool
    kwargs = {**pool.connection_kwargs, **_impatience()}
    return Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **kwargs))


def _impatience() -> dict[str, Any]:
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_timeout": SOCKET_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
    }


def is_paused(queue: str) -> bool:
    """Return whether the queue's Redis failed less than ``PAUSE`` seconds ago."""
    return monotonic() < _paused_until.get(queue, 0.0)


def take_turn(queue: str, seconds: float, *, at: str = TURN) -> bool:
    """Return whether the caller takes the turn that one worker of a queue gets in *seconds*; *at* is its key."""
    try:
        return bool(_queue(queue).connection.set(at % queue, "1", nx=True, px=int(seconds * 1000)))
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)
        return False


def worker_count(queue: str) -> int | None:
    """Return how many workers a queue has, or None if Redis cannot be reached or the queue needs no worker."""
    try:
        rq_queue = _queue(queue)
        if not rq_queue.is_async:
            return None
        return int(rq_queue.connection.eval(COUNT_WORKERS, 1, WORKERS_BY_QUEUE_KEY % queue))
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)
        return None


def worker_command(queue: str) -> str:
    """Return the command that starts a worker of a queue."""
    return f"manage.py rqworker {shlex.quote(queue)}"


def mark(queue: str) -> bool | None:
    """
    Set a mark in the queue's Redis. Return whether it was missing because Redis has lost its data or is new.

    Return None if Redis cannot be reached.
    """
    try:
        return bool(_queue(queue).connection.set(MARK % queue, "1", nx=True))
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)
        return None


def unmark(queue: str) -> None:
    """Delete the mark, so that the next relay checks every queued run."""
    try:
        _queue(queue).connection.delete(MARK % queue)
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)


def requeue_stuck(queue: str, strays: set[str]) -> set[str]:
    """
    Move stuck jobs from RQ's intermediate queue back to the queue. Return the ids to pass as *strays* next time.

    A job is stuck if it was in *strays*, the result of the last call, and is still there. RQ moves a job to this list
    while a worker takes it. It stays there only if the worker died or its connection was dead. A run that is enqueued
    twice is claimed once.
    """
    between = _queue(queue).intermediate_queue_key
    try:
        connection = _queue(queue).connection
        found = {name for name in map(as_text, connection.lrange(between, 0, -1)) if name.startswith(NAME)}
        for name in found & strays:
            with connection.pipeline() as pipeline:
                pipeline.lrem(between, 0, name)
                pipeline.lpush(_queue(queue).key, name)
                pipeline.execute()
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)
        return set()
    return found - strays


def listed(queue: str) -> set[str] | None:
    """Return the ids of all jobs in the queue's list, or None if Redis cannot be reached."""
    ids: set[str] = set()
    try:
        connection, key = _queue(queue).connection, _queue(queue).key
        start = 0
        while portion := connection.lrange(key, start, start + PORTION - 1):
            ids.update(map(as_text, portion))
            start += len(portion)
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)
        return None
    return ids


def known(queue: str, announced_jobs: list[tuple[UUID, int]], *, listed: set[str] | None = None) -> set[UUID] | None:
    """
    Return the ids of the runs in *announced_jobs* (run id, dispatch number) that have a job in Redis.

    Return None if Redis cannot be reached. With *listed*, a job counts only while it is in the queue's list, because
    RQ can lose a job between taking it and starting it.
    """
    ids = {job_id(run_id, number): run_id for run_id, number in announced_jobs}
    # The list changes while and after it is read, so ask for each job that was not in it. Only for those, because
    # Redis takes a millisecond to find one job in a list of 100,000
    unsure = [name for name in ids if listed is None or name not in listed]
    try:
        found = (_exists if listed is None else _in_list)(_queue(queue), unsure)
    except Exception as error:  # noqa: BLE001 - any error of this queue must not stop the others
        _note_failure(queue, error)
        return None
    missing = {name for name, is_there in zip(unsure, found, strict=True) if not is_there}
    return {run_id for name, run_id in ids.items() if name not in missing}


def _exists(queue: Queue, ids: list[str]) -> list[bool]:
    with queue.connection.pipeline(transaction=False) as pipeline:
        for name in ids:
            pipeline.exists(queue.job_class.key_for(name))
        return [bool(count) for count in pipeline.execute()]


def _in_list(queue: Queue, ids: list[str]) -> list[bool]:
    with queue.connection.pipeline(transaction=False) as pipeline:
        for name in ids:
            pipeline.lpos(queue.key, name)
        return [position is not None for position in pipeline.execute()]


@receiver(setting_changed, dispatch_uid="numflow_django.dispatch")
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"RQ_QUEUES", "RQ"}:
        reset()


def reset() -> None:
    """Forget all connections and pauses, for example after a change of the settings."""
    for remembered in (_queue, _common, _push_script):
        remembered.cache_clear()
    _paused_until.clear()
