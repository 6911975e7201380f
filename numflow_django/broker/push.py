"""Put the job of a run into its queue. A job carries only the run's id, so a lost job loses no data."""

from typing import Any

from redis.commands.core import Script
from rq import Queue
from rq.job import Job, JobStatus
from rq.utils import now, utcformat

from ..models import FeatureRun
from .job import FAILURE_TTL, JOB, job_id
from .queues import cached_until_reset, queue_named

#: Push the job ARGV[1] unless it exists. ARGV[2] is RQ's set of queues, ARGV[3] the job's call, ARGV[4] the time now,
#: ARGV[5], ... the fields and values that all jobs of a feature share.
PUSH_JOB = """
if redis.call("EXISTS", KEYS[2]) == 1 then return end
redis.call("HSET", KEYS[2], "data", ARGV[3], "created_at", ARGV[4], "enqueued_at", ARGV[4], unpack(ARGV, 5))
redis.call("SADD", ARGV[2], KEYS[1])
redis.call("RPUSH", KEYS[1], ARGV[1])
"""


def push(run: FeatureRun, *, timeout: int) -> None:
    """
    Put the job of *run* into Redis, unless it is there already. Raise the errors of Redis and of the settings.

    It does what RQ's enqueue_call(unique=True) does, in one round trip instead of two.
    """
    name, args, queue = job_id(run.pk, run.dispatch_no), (str(run.pk), run.dispatch_no), queue_named(run.queue)
    if not queue.is_async:
        # ASYNC = False in RQ_QUEUES: RQ runs the job in this process
        queue.enqueue_call(JOB, args, timeout=timeout, result_ttl=0, description=run.feature, job_id=name)
        return
    # RQ would also read compressed data, but compression would make this short text longer
    call = queue.serializer.dumps((JOB, None, args, {}))
    facts: list[str | bytes] = [
        name,
        Queue.redis_queues_keys,
        call,
        utcformat(now()),
        *_shared_fields(run.queue, timeout, run.feature),
    ]
    _script(run.queue)(keys=[queue.key, Job.key_for(name)], args=facts)


@cached_until_reset
def _shared_fields(queue_name: str, timeout: int, feature: str) -> list[bytes]:
    """Return the fields and values, in turn, that RQ stores for every job of a feature."""
    queue = queue_named(queue_name)
    options: dict[str, Any] = {"timeout": timeout, "result_ttl": 0, "failure_ttl": FAILURE_TTL, "description": feature}
    job = queue.create_job(JOB, args=(), status=JobStatus.QUEUED, **options)
    job.origin = queue_name
    own = ("data", "created_at", "enqueued_at")
    fields = {name: value for name, value in job.to_dict().items() if name not in own and value not in (None, "")}
    encoder = queue.connection.get_encoder()
    return [encoder.encode(part) for pair in fields.items() for part in pair]  # type: ignore[no-untyped-call]


@cached_until_reset
def _script(queue_name: str) -> Script:
    return queue_named(queue_name).connection.register_script(PUSH_JOB)
