"""The registration of a worker in RQ's list of workers."""

from redis.exceptions import RedisError
from rq import Worker, worker_registration

from ..signals import logger


def stay_registered(worker: Worker) -> None:
    """Register again after Redis has lost its data, or relays would warn that the queue has no worker."""
    try:
        is_listed = worker.connection.sismember(worker.redis_workers_keys, worker.key)
        if not is_listed and not worker._stop_requested:
            worker.connection.hset(worker.key, mapping=worker.serialize())
            worker_registration.register(worker)
            worker.heartbeat()
    except RedisError as error:
        logger.warning("not registered worker=%s: %s: %s", worker.name, type(error).__name__, error)
