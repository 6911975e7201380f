"""The workers of a queue: how many there are, and what starts one."""

import shlex

from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from .pauses import on_failure
from .queues import queue_named

#: Count the workers of a queue: the members of KEYS[1] whose own keys exist. The key of a killed worker expires, but RQ
#: removes the worker from KEYS[1] only when another worker cleans up.
COUNT_WORKERS = """
local count = 0
for _, worker in ipairs(redis.call("SMEMBERS", KEYS[1])) do count = count + redis.call("EXISTS", worker) end
return count
"""


@on_failure(None)
def worker_count(queue: str) -> int | None:
    """Return how many workers a queue has, or None if Redis cannot be reached or the queue needs no worker."""
    rq_queue = queue_named(queue)
    if not rq_queue.is_async:
        return None
    return int(rq_queue.connection.eval(COUNT_WORKERS, 1, WORKERS_BY_QUEUE_KEY % queue))


def worker_command(queue: str) -> str:
    """Return the command that starts a worker of a queue."""
    return f"manage.py rqworker {shlex.quote(queue)}"
