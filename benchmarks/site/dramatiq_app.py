"""Dramatiq: a pipeline of three messages, or one that runs the three tasks."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.site import work

broker = RedisBroker(host="127.0.0.1", port=int(os.environ["BENCH_REDIS_PORT"]))
dramatiq.set_broker(broker)


@dramatiq.actor
def task(key, number):
    """One task of the pipeline."""
    work.perform(key, number)


@dramatiq.actor
def sequence(key):
    """All tasks in order."""
    work.sequence(key)


def announce(key):
    """Enqueue a pipeline."""
    messages = [task.message_with_options(args=(key, number), pipe_ignore=number > 0) for number in range(work.TASKS)]
    dramatiq.pipeline(messages).run()


announce_one = sequence.send
