"""
Fault points: edges of numflow_django at which a process ends or stops, installed from outside by patching.

A plan is a file in the scenario's folder, ``plans/<run id>`` or ``plans/<any name a request gives>``, with one line
``<edge> <task or -> <action>``, the action a name or ``sleep=<seconds>``. Reaching the edge takes the file away, so
that each fault happens once.
"""

import os
import signal
import time
from functools import wraps
from pathlib import Path

PLANS = Path(os.environ.get("FAULTS_FOLDER", "/nonexistent"), "plans")

#: Of a web process: the plans that the request which it answers named.
asked: list[str] = []


def reach(edge, name, task="-"):
    """Do what the plan *name* says, if it is about this edge."""
    plan = PLANS / str(name)
    try:
        at, of, action = plan.read_text().split()
    except FileNotFoundError:
        return
    if at == edge and of in {task, "-"}:
        plan.unlink()
        what, *seconds = action.split("=")
        ACTIONS[what](*seconds)


def reach_asked(edge):
    """Do what the plans of the request say, if they are about this edge."""
    for name in asked:
        reach(edge, name)


def _kill_horse():
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_both():
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _stop():
    os.kill(os.getpid(), signal.SIGSTOP)


ACTIONS = {
    "horse": _kill_horse,
    "both": _kill_both,
    "stop": _stop,
    "sleep": lambda seconds: time.sleep(float(seconds)),
}


def install():
    """Patch the edges; without a folder of plans, nothing."""
    if "FAULTS_FOLDER" not in os.environ:
        return
    from numflow_django import models
    from numflow_django.broker import dispatch
    from numflow_django.db import statements
    from numflow_django.execution import executor

    _patch_claim(models.FeatureRunQuerySet)
    _patch_checkpoint(statements)
    _patch_settle(executor.RunExecutor)
    _patch_insert(models.FeatureRunQuerySet)
    _patch_push(dispatch)


def _patch_claim(querysets):
    claim = querysets.claim

    @wraps(claim)
    def patched(self, run_id, *args, **kwargs):
        reach("before-claim", run_id)
        run = claim(self, run_id, *args, **kwargs)
        if run is not None:
            reach("after-claim", run_id)
        return run

    querysets.claim = patched


def _patch_checkpoint(statements):
    """The edge is before the COMMIT of a checkpoint, which may be one statement and is a transaction all the same."""
    from django.db import transaction

    advance = statements.advance

    @wraps(advance)
    def patched(run, guard, changes, executions):
        if not (PLANS / str(run.pk)).exists():
            return advance(run, guard, changes, executions)
        with transaction.atomic(using=run._state.db):
            written = advance(run, guard, changes, executions)
            for row in executions:
                reach("in-checkpoint", row.run_id, row.name)
        return written

    statements.advance = patched


def _patch_settle(executors):
    settle = executors._settle

    @wraps(settle)
    def patched(self, outcome, checkpoint):
        reach("after-checkpoint", self.run.pk, outcome.task.name)
        settle(self, outcome, checkpoint)

    executors._settle = patched


def _patch_insert(querysets):
    """The edge is after the INSERT of the run, which is the last statement before the COMMIT of a request."""
    insert = querysets.create_run

    @wraps(insert)
    def patched(self, **facts):
        run = insert(self, **facts)
        reach_asked("before-commit")
        return run

    querysets.create_run = patched


def _patch_push(dispatch):
    push = dispatch.push

    @wraps(push)
    def patched(run, *, timeout):
        reach_asked("before-enqueue")
        push(run, timeout=timeout)
        reach_asked("after-enqueue")

    dispatch.push = patched
