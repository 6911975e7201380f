"""Run row -> RQ job. A job is only a doorbell: it carries the run's id, and losing it loses nothing."""

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

#: The wire format: what RQ calls, by name. Never renamed.
JOB = "numflow_django.jobs.run_feature"

#: What the ids of our jobs begin with.
NAME = "numflow-"

#: A key in each queue's Redis whose absence says that Redis has lost its data.
MARK = "numflow:mark:%s"

#: A key that lives for as long as the relay's turn is taken.
TURN = "numflow:turn:%s"

#: A key that exists while a queue's warning must not be repeated.
WARNED = "numflow:warned:%s"

#: Count the workers of a queue: the members of KEYS[1] whose own keys exist. The key of a killed worker expires, but RQ
#: removes the worker from KEYS[1] only when another worker cleans up.
COUNT_WORKERS = """
local count = 0
for _, worker in ipairs(redis.call("SMEMBERS", KEYS[1])) do count = count + redis.call("EXISTS", worker) end
return count
"""

#: Push the job ARGV[1] unless it is there. ARGV[2] is RQ's set of its queues, ARGV[3] what the job calls, ARGV[4] now,
#: ARGV[5], ... the fields and values that all jobs of a feature have.
RING = """
if redis.call("EXISTS", KEYS[2]) == 1 then return 0 end
redis.call("HSET", KEYS[2], "data", ARGV[3], "created_at", ARGV[4], "enqueued_at", ARGV[4], unpack(ARGV, 5))
redis.call("SADD", ARGV[2], KEYS[1])
redis.call("RPUSH", KEYS[1], ARGV[1])
return 1
"""

#: Seconds that a request waits for Redis at the most: to connect, and for an answer.
CONNECT_TIMEOUT = 0.25
SOCKET_TIMEOUT = 0.5

#: Seconds in which a queue whose Redis failed is not tried again, so that requests do not wait one after another.
PAUSE = 3.0

#: Seconds that a job which RQ itself gave up stays in its failed registry; our own log is the task log.
FAILURE_TTL = 86_400

#: Job ids that are read from a queue's list at once.
PORTION = 5_000

_paused_until: dict[str, float] = {}
_lock = Lock()


class BrokerPaused(NumflowError):
    """The queue's Redis failed a moment ago and is not tried again yet."""


def ring(*, run_id: UUID, dispatch_no: int, queue: str, timeout: int, feature: str) -> bool:
    """
    Enqueue the doorbell of a run; give whether it is in Redis now.

    Never raises: a failure is logged, and whoever calls leaves the run to be dispatched later. *timeout* is RQ's
    limit for the whole run, in seconds.
    """
    try:
        _pause_or_pass(queue)
        _enqueue(run_id, dispatch_no, queue, timeout, feature)
    except DuplicateJobError:
        return True
    except Exception as error:  # noqa: BLE001 - the response is on its way; a missing queue or Redis must not change it
        _note_failure(queue, error)
        hint = broker_hint(error) if isinstance(error, RedisConnectionError) else ""
        dispatch_failed.send_robust(sender=FeatureRun, run_id=run_id, feature=feature, error=error, hint=hint)
        return False
    return True


def _enqueue(run_id: UUID, dispatch_no: int, queue: str, timeout: int, feature: str) -> None:
    """
    What RQ's enqueue_call(unique=True) does, in one round trip instead of two.

    Raise DuplicateJobError if the doorbell is in Redis already.
    """
    name, args, rq_queue = job_id(run_id, dispatch_no), (str(run_id), dispatch_no), _queue(queue)
    if not rq_queue.is_async:
        # ASYNC = False in RQ_QUEUES: the caller is the worker
        rq_queue.enqueue_call(JOB, args, timeout=timeout, result_ttl=0, description=feature, job_id=name)
        return
    # Not compressed, which RQ knows too: this short text would only grow
    call = rq_queue.serializer.dumps((JOB, None, args, {}))
    facts: list[str | bytes] = [
        name,
        Queue.redis_queues_keys,
        call,
        utcformat(now()),
        *_common(queue, timeout, feature),
    ]
    if not _ringer(queue)(keys=[rq_queue.key, Job.key_for(name)], args=facts):
        raise DuplicateJobError(f"the doorbell {name} is in Redis already")


@lru_cache(maxsize=1024)
def _common(queue: str, timeout: int, feature: str) -> list[bytes]:
    """What RQ keeps of all jobs of a feature: fields and values in turn."""
    options: dict[str, Any] = {"timeout": timeout, "result_ttl": 0, "failure_ttl": FAILURE_TTL, "description": feature}
    job = _queue(queue).create_job(JOB, args=(), status=JobStatus.QUEUED, **options)
    job.origin = queue
    own = ("data", "created_at", "enqueued_at")
    fields = {name: value for name, value in job.to_dict().items() if name not in own and value not in (None, "")}
    encoder = _queue(queue).connection.get_encoder()
    return [encoder.encode(part) for pair in fields.items() for part in pair]  # type: ignore[no-untyped-call]


@lru_cache(maxsize=64)
def _ringer(queue: str) -> Script:
    return _queue(queue).connection.register_script(RING)


def job_id(run_id: UUID, dispatch_no: int) -> str:
    """The id of the RQ job that announces a run for the *dispatch_no*-th time."""
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
    """The queue *name*, kept for the life of the process: a new one for each job would connect anew each time."""
    if name not in conf.queues:
        raise ImproperlyConfigured(f"the queue {name!r} is not in RQ_QUEUES ({', '.join(sorted(conf.queues))})")
    # "auto" is RQ's own behaviour: the transaction has committed already, whichever database it was in
    return django_rq.get_queue(name, commit_mode="auto", connection=_impatient(name))


def _impatient(name: str) -> Redis:
    """The queue's connection with short timeouts and no retries, because a user waits for it."""
    connection = get_connection(name)
    pool = connection.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        # It asks the sentinels who the master is, so it keeps its class; and it is ours alone
        for client in (connection, *pool.sentinel_manager.sentinels):
            client.connection_pool.connection_kwargs.update(_impatience())
        return connection
    # A pool of our own, because a cache of the site's may share the queue's
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
    """Whether the queue's Redis failed a moment ago and is not tried again yet."""
    return monotonic() < _paused_until.get(queue, 0.0)


def take_turn(queue: str, seconds: float, *, at: str = TURN) -> bool:
    """Whether the caller may do what the workers of a queue do once in *seconds*; *at*: the key of a turn."""
    try:
        return bool(_queue(queue).connection.set(at % queue, "1", nx=True, px=int(seconds * 1000)))
    except Exception as error:  # noqa: BLE001 - as below
        _note_failure(queue, error)
        return False


def worker_count(queue: str) -> int | None:
    """Return how many workers a queue has; None if Redis cannot be reached, or if the queue needs no worker."""
    try:
        rq_queue = _queue(queue)
        if not rq_queue.is_async:
            return None
        return int(rq_queue.connection.eval(COUNT_WORKERS, 1, WORKERS_BY_QUEUE_KEY % queue))
    except Exception as error:  # noqa: BLE001 - as below
        _note_failure(queue, error)
        return None


def worker_command(queue: str) -> str:
    """Return the command that starts a worker of a queue."""
    return f"manage.py rqworker {shlex.quote(queue)}"


def mark(queue: str) -> bool | None:
    """
    Leave a mark in the queue's Redis; give whether it was missing, because Redis has lost its data (or is new).

    None: Redis cannot be reached.
    """
    try:
        return bool(_queue(queue).connection.set(MARK % queue, "1", nx=True))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with this queue, the others go on
        _note_failure(queue, error)
        return None


def unmark(queue: str) -> None:
    """Take the mark away, so that the next relay looks for every queued run."""
    try:
        _queue(queue).connection.delete(MARK % queue)
    except Exception as error:  # noqa: BLE001 - as above
        _note_failure(queue, error)


def put_back(queue: str, strays: set[str]) -> set[str]:
    """
    Put jobs into the queue again that have been half taken since the last call, which gave *strays*; give today's.

    A worker that waits for a job has it moved to a second list, and from there it is gone in a moment, unless the
    worker died, or Redis served one whose connection was dead. A doorbell that rings twice is answered once.
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
    except Exception as error:  # noqa: BLE001 - as above
        _note_failure(queue, error)
        return set()
    return found - strays


def listed(queue: str) -> set[str] | None:
    """The ids of the jobs that wait in the queue's list, read in portions; None: out of reach."""
    ids: set[str] = set()
    try:
        connection, key = _queue(queue).connection, _queue(queue).key
        start = 0
        while portion := connection.lrange(key, start, start + PORTION - 1):
            ids.update(map(as_text, portion))
            start += len(portion)
    except Exception as error:  # noqa: BLE001 - as above
        _note_failure(queue, error)
        return None
    return ids


def known(queue: str, doorbells: list[tuple[UUID, int]], *, listed: set[str] | None = None) -> set[UUID] | None:
    """
    Of the runs behind *doorbells* (run id, dispatch number), those that Redis still knows of; None: out of reach.

    With *listed*, a job counts only while it is in the list: RQ can lose one between taking it and starting it.
    """
    ids = {job_id(run_id, number): run_id for run_id, number in doorbells}
    # The list moves while it is read, and grows afterwards; only for those that it did not show it is asked one by one,
    # because to find one job in a list of 100,000 takes Redis a millisecond
    unsure = [name for name in ids if listed is None or name not in listed]
    try:
        found = (_exists if listed is None else _in_list)(_queue(queue), unsure)
    except Exception as error:  # noqa: BLE001 - as above
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


@receiver(setting_changed, dispatch_uid="numflow_django.broker.dispatch")
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in {"RQ_QUEUES", "RQ"}:
        reset()


def reset() -> None:
    """Forget connections and pauses, as after a change of the settings."""
    for remembered in (_queue, _common, _ringer):
        remembered.cache_clear()
    _paused_until.clear()
