"""Take the next jobs from a queue in one round trip."""

from collections.abc import Sequence
from typing import NamedTuple

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import as_text

from ..discovery.registry import JOB_MARGIN
from .job import FAILURE_TTL, JOB_ID_IN_LUA, is_job_id

#: Delete the finished jobs ARGV[5], ... and take up to ARGV[1] others, but at most a quarter of the queue, so that
#: other workers are not idle. Leave a job that is not ours to RQ. A job's hash stays until the job is done, because the
#: relay treats a run without a job in Redis as lost. If the worker dies, its hashes expire after ARGV[4] seconds.
TAKE = f"""
for index = 5, #ARGV do redis.call("DEL", ARGV[2] .. ARGV[index]) end
if redis.call("EXISTS", ARGV[3]) == 1 then return {{}} end
local taken = {{}}
for _, queue in ipairs(KEYS) do
    local share = math.max(1, math.min(tonumber(ARGV[1]), math.floor(redis.call("LLEN", queue) / 4)))
    while #taken < 2 * share do
        local name = redis.call("LINDEX", queue, 0)
        if not name then break end
        if not string.find(name, "{JOB_ID_IN_LUA}") then return taken end
        redis.call("LPOP", queue)
        redis.call("EXPIRE", ARGV[2] .. name, ARGV[4])
        table.insert(taken, name)
        table.insert(taken, redis.call("HGET", ARGV[2] .. name, "timeout") or "")
    end
    if #taken > 0 then return taken end
end
return taken
"""


class FetchedJob(NamedTuple):
    """A job that a work-horse took from a queue."""

    job_id: str
    timeout: float  # its limit in seconds


class Fetcher:
    """Take jobs from the queues for a work-horse."""

    def __init__(self, queues: Sequence[Queue], connection: Redis, *, linger: float) -> None:
        self._connection = connection
        self._linger = linger  # seconds to wait for one more job
        self._queues = queues
        self._take = connection.register_script(TAKE)
        self._arguments = (Job.redis_job_namespace_prefix, WORKERS_SUSPENDED, FAILURE_TTL)

    def next(self, done: Sequence[str], *, most: int = 1) -> list[FetchedJob]:
        """Delete the jobs *done* and return up to *most* next jobs; none if none can be taken here."""
        keys = [queue.key for queue in self._queues]
        found = self._take(keys=keys, args=[most, *self._arguments, *done])
        return [_fetched_job(*pair) for pair in zip(found[::2], found[1::2], strict=True)] or self.wait_for_one()

    def finish(self, done: Sequence[str]) -> None:
        """Delete the jobs *done* and take no other."""
        self._connection.delete(*map(Job.key_for, done))

    def wait_for_one(self) -> list[FetchedJob]:
        """Wait for a job as RQ does: move it to the intermediate queue, where the relay finds it if it gets stuck."""
        if not self._linger or len(self._queues) > 1 or self._connection.exists(WORKERS_SUSPENDED):
            return []
        queue, between = self._queues[0].key, self._queues[0].intermediate_queue_key
        found = self._connection.blmove(queue, between, self._linger, "LEFT", "RIGHT")  # type: ignore[arg-type]
        if found is None:
            return []
        name = as_text(found)
        is_ours = is_job_id(name)
        with self._connection.pipeline() as pipeline:
            pipeline.hget(Job.key_for(name), "timeout")
            pipeline.expire(Job.key_for(name), FAILURE_TTL)
            pipeline.lrem(between, 1, name)
            if not is_ours:
                pipeline.lpush(queue, name)
            timeout = pipeline.execute()[0]
        return [_fetched_job(name, timeout or b"")] if is_ours else []


def _fetched_job(name: bytes | str, timeout: bytes) -> FetchedJob:
    # Other programs can write to Redis, so the value may be anything
    return FetchedJob(as_text(name), float(timeout) if timeout.isdigit() else float(JOB_MARGIN))
