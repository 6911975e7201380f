"""Holders that fall asleep and wake up when their run is another's."""

import re
import signal
import time
from pathlib import Path

from numflow_django.models import FeatureRun
from tests.faults.processes import send
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE
from tests.support.waiting import eventually

#: Holders asleep at once.
BATCH = 4


def sleeping(scene):
    """A holder that wakes up too late writes nothing; one that sleeps with a lock on its run keeps no other waiting."""
    count = scene.size(20, 4)
    scene.pool(8)
    late, locked = set(), set()
    for _ in range(0, count, BATCH):
        batch_late, batch_locked = _batch(scene)
        late |= batch_late
        locked |= batch_locked
    scene.wait(60)
    verdict = scene.judge(THREE, extra=len(late))
    scene.check(verdict.extra == len(late), f"{verdict.extra} extra executions instead of {len(late)}")
    log = (scene.folder / "pool.log").read_text()
    fenced = set(re.findall(r"([0-9]+) WARNING numflow_django claim lost run=([0-9a-f-]+)", log))
    # The lock ends with the COMMIT, and the lease is over by then: a relay may be faster than the holder's renewal
    is_right = late <= fenced <= late | locked
    scene.check(is_right, f"fenced, as (process, run): {fenced}; these should be: {late}, and these may be: {locked}")
    found = f"{len(fenced)} fenced and rolled back, {count - len(late)} with the lock held, effects exactly one"
    return f"{count} x 3", found


def _batch(scene):
    """
    Holders that wake up when their run has ended, when another is at the same task, or still in time.

    The last ones sleep with a lock on the row, so that no other process can take the run over. Return the process and
    the run of those that are too late, and of those with the lock.
    """
    ended = [scene.start("three", ("in-task", "stop", "beta")) for _ in range(BATCH // 2)]
    raced = scene.start("three", ("in-task", "stop", "beta"))
    locked = scene.start("three", ("in-checkpoint", "stop", "beta"))
    pids = {run: _asleep(scene, run) for run in (*ended, raced, locked)}
    scene.plan(raced, "in-task", "sleep=2", "beta")  # for the one that takes it over

    _until(lambda: len(_begun(scene, raced)) == 2, "The run of one who sleeps in a task was not taken over")
    send(pids[raced], signal.SIGCONT)
    _until(lambda: _are_done([*ended, raced]), "The runs of those who sleep in a task were not taken over")
    for run in (*ended, locked):
        send(pids[run], signal.SIGCONT)
    _until(lambda: _are_done([locked]), "The run of one who slept with the lock did not go on")
    time.sleep(0.5)
    return _pairs(pids, *ended, raced), _pairs(pids, locked)


def _pairs(pids, *runs):
    return {(str(pids[run]), str(run)) for run in runs}


def _until(condition, message):
    eventually(condition, timeout=40, message=message)


def _are_done(runs):
    return not FeatureRun.objects.filter(pk__in=runs).exclude(state="succeeded").exists()


def _begun(scene, run):
    return [line for line in scene.ledger.begun(run) if line.task == "beta"]


def _asleep(scene, run):
    """The process that stopped in the run's second task."""

    def stopped():
        for line in _begun(scene, run):
            if Path(f"/proc/{line.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return line.pid
        return None

    return eventually(stopped, timeout=40, message="A holder does not stop")


SCENARIOS = [
    Scenario(
        number="10",
        fault="SIGSTOP a holder past its lease, then SIGCONT",
        wanted="fenced, its effect rolled back",
        play=sleeping,
        # SQLite has one lock for all: while a holder sleeps with it, no other process writes
        databases=("postgresql", "mysql"),
    )
]
