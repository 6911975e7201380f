"""Dramatiq: one actor that runs the three tasks, which is faster than its pipeline."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.site import work

dramatiq.set_broker(RedisBroker(host="127.0.0.1", port=int(os.environ["BENCH_REDIS_PORT"])))


@dramatiq.actor
def sequence(key):
    """All tasks in order."""
    work.sequence(key)


announce = sequence.send
