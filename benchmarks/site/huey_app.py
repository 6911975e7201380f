"""Huey: one task that runs the three, which is faster than its pipeline; without results."""

import os

from huey import RedisHuey

from benchmarks.site import work

huey = RedisHuey("benchmarks", host="127.0.0.1", port=int(os.environ["BENCH_REDIS_PORT"]), results=False)


@huey.task()
def sequence(key):
    """All tasks in order."""
    work.sequence(key)


announce = sequence
