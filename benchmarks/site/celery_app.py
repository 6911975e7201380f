"""Celery: a chain of three tasks, without results."""

import os

from celery import Celery

from benchmarks.site.work import TASKS, perform

app = Celery("benchmarks", broker=f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}/0")
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def task(key, number):
    """One task of the chain."""
    perform(key, number)


def announce(key):
    """Enqueue a sequence."""
    first, *rest = (task.si(key, number) for number in range(TASKS))
    for following in rest:
        first |= following
    first.apply_async()
