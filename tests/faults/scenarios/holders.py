"""Holders that fall asleep and wake up when their run is another's."""

import signal
import time
from pathlib import Path

from numflow_django.models import FeatureRun
from tests.faults.processes import send
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE
from tests.waiting import eventually

#: Asleep at once; half of them in the task, half in the checkpoint, with the row of the run locked.
BATCH = 4


def sleeping(scene):
    """Who wakes up too late writes nothing; and who sleeps with a lock on its run keeps no other run waiting."""
    count = scene.size(20, 4)
    scene.pool(8)
    for _ in range(0, count, BATCH):
        _batch(scene)
    scene.wait(60)
    verdict = scene.judge(THREE, extra=count // 2)
    fenced = (scene.folder / "pool.log").read_text().count("claim lost")
    scene.check(verdict.extra == count // 2, f"{verdict.extra} extra executions instead of {count // 2}")
    scene.check(fenced == count // 2, f"{fenced} holders fenced instead of {count // 2}")
    return f"{count} x 3", f"{fenced} fenced and rolled back, {count - fenced} with the lock held, effects exactly one"


def _batch(scene):
    in_task = [scene.start("three", ("in-task", "stop", "beta")) for _ in range(BATCH // 2)]
    in_lock = [scene.start("three", ("in-checkpoint", "stop", "beta")) for _ in range(BATCH // 2)]
    asleep = [_asleep(scene, run) for run in in_task + in_lock]
    eventually(
        lambda: not FeatureRun.objects.filter(pk__in=in_task).exclude(state="succeeded").exists(),
        timeout=40,
        message="The runs of those who sleep in a task were not taken over",
    )
    for pid in asleep:
        send(pid, signal.SIGCONT)
    eventually(
        lambda: not FeatureRun.objects.filter(pk__in=in_lock).exclude(state="succeeded").exists(),
        timeout=40,
        message="The runs of those who slept with the lock did not go on",
    )
    time.sleep(0.5)


def _asleep(scene, run):
    """The process that stopped in the run's second task."""

    def stopped():
        for line in scene.ledger.begun(run):
            if line.task == "beta" and Path(f"/proc/{line.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return line.pid
        return None

    return eventually(stopped, timeout=40, message="A holder does not stop")


SCENARIOS = [
    Scenario(
        number="10",
        fault="SIGSTOP a holder past its lease, then SIGCONT",
        wanted="fenced, its effect rolled back",
        play=sleeping,
        # SQLite has one lock for all: while somebody sleeps with it, nobody writes
        databases=("postgresql", "mysql"),
    )
]
