"""Huey: a pipeline of three tasks, or one that runs the three; without results."""

import os

from huey import RedisHuey

from benchmarks.site import work

huey = RedisHuey("benchmarks", host="127.0.0.1", port=int(os.environ["BENCH_REDIS_PORT"]), results=False)


@huey.task()
def task(key, number):
    """One task of the pipeline."""
    work.perform(key, number)


@huey.task()
def sequence(key):
    """All tasks in order."""
    work.sequence(key)


def announce(key):
    """Enqueue a pipeline."""
    first, *rest = (task.s(key, number) for number in range(work.TASKS))
    for following in rest:
        first = first.then(following)
    huey.enqueue(first)


announce_one = sequence
