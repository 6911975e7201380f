"""What the tasks do: a line before, a line after, and between them the fault that their run was given."""

import os
import time
from pathlib import Path

from django.db.models import F

from . import points
from .models import Effect, Order

LINES = Path(os.environ.get("FAULTS_FOLDER", "/nonexistent"), "ledger")


def note(run_id, task, attempt, what):
    """Append one line, and have it on the disk before anything else happens."""
    descriptor = os.open(LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{run_id} {task} {attempt} {os.getpid()} {what} {time.time():.3f}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def work(ctx, *, atomic=False):
    """A task: begin, take effect if it is *atomic*, with a lock on the order if it is to, take some time, end."""
    task, run = ctx.task.name, ctx.run_id
    points.reach("before-task", run, task)
    note(run, task, ctx.task.attempt, "begin")
    if atomic:
        Effect.objects.create(run=run, task=task)
        if ctx.get("lock"):
            Order.objects.filter(run=run).update(item=F("item"))
    time.sleep(ctx.get("seconds", 0))
    points.reach("in-task", run, task)
    note(run, task, ctx.task.attempt, "end")
    points.reach("after-task", run, task)
    return ctx.task.attempt
