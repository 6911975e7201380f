"""Taking the next doorbell from a queue, in one round trip."""

from collections.abc import Sequence
from typing import NamedTuple

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import as_text

from .doorbell import JOB_ID
from .registry import JOB_MARGIN

#: Forget the job ARGV[1], which is done, and take the next one; a job that is not ours is left to RQ's own way.
#: Its hash stays until it is done: the relay takes a run whose job Redis does not know for lost.
TAKE = """
if ARGV[1] ~= "" then redis.call("DEL", ARGV[2] .. ARGV[1]) end
if redis.call("EXISTS", ARGV[3]) == 1 then return false end
for _, queue in ipairs(KEYS) do
    local name = redis.call("LINDEX", queue, 0)
    if name then
        if not string.find(name, "^numflow%-%x+%-%d+$") then return false end
        redis.call("LPOP", queue)
        return {name, redis.call("HGET", ARGV[2] .. name, "timeout") or ""}
    end
end
return false
"""


class Taken(NamedTuple):
    """A job that was taken from a queue."""

    name: str  # the RQ job's id
    timeout: float  # seconds that it may last


class Intake:
    """Where a work-horse gets its next job from."""

    def __init__(self, queues: Sequence[Queue], connection: Redis, *, linger: float) -> None:
        self._connection = connection
        self._linger = linger  # seconds to wait for one more
        self._queues = queues
        self._take = connection.register_script(TAKE)
        self._arguments = (Job.redis_job_namespace_prefix, WORKERS_SUSPENDED)

    def next(self, done: str) -> Taken | None:
        """The next job, now that *done* has ended; None if there is none that can be taken here."""
        return self._taken(done) or (self._awaited() if self._linger else None)

    def finish(self, done: str) -> None:
        """Forget the job *done*, and take no other."""
        self._connection.delete(Job.key_for(done))

    def _taken(self, done: str) -> Taken | None:
        found = self._take(keys=[queue.key for queue in self._queues], args=[done, *self._arguments])
        return _taken(*found) if found else None

    def _awaited(self) -> Taken | None:
        """Wait for a job as RQ does: by way of a second list, from which one that gets lost can be told."""
        if len(self._queues) > 1 or self._connection.exists(WORKERS_SUSPENDED):
            return None
        queue, between = self._queues[0].key, self._queues[0].intermediate_queue_key
        found = self._connection.blmove(queue, between, self._linger, "LEFT", "RIGHT")  # type: ignore[arg-type]
        if found is None:
            return None
        name = as_text(found)
        is_ours = JOB_ID.fullmatch(name)
        with self._connection.pipeline() as pipeline:
            pipeline.hget(Job.key_for(name), "timeout")
            pipeline.lrem(between, 1, name)
            if not is_ours:
                pipeline.lpush(queue, name)
            timeout = pipeline.execute()[0]
        return _taken(name, timeout or b"") if is_ours else None


def _taken(name: bytes | str, timeout: bytes) -> Taken:
    # Whoever writes to Redis may have left anything there
    return Taken(as_text(name), float(timeout) if timeout.isdigit() else float(JOB_MARGIN))
