"""Shutdowns, as deploys and supervisors make them."""

import signal

from tests.faults.processes import children, send, sessions, wait_until_gone
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scenarios.siege import besiege
from tests.faults.scene import FIVE

#: Seconds between SIGTERM and SIGKILL.
GRACE = 5


def rolling(scene):
    """One worker after another is asked to end and, where it takes too long, ended."""
    runs, rounds = scene.size((200, 24), (25, 4))
    workers = scene.workers(3)
    killed = 0
    # Some tasks take longer than the grace; their work-horse and worker are killed
    for _ in range(scene.size(10, 2)):
        scene.start("five", ("in-task", "sleep=7", "gamma"), seconds=0.1)
    turn = 0

    def strike(workers):
        nonlocal killed, turn
        alive = workers.alive()
        if not alive:
            return False
        turn += 1
        worker = alive[turn % len(alive)]
        horses = children(worker)
        send(worker, signal.SIGTERM)
        left = wait_until_gone([worker, *horses], GRACE)
        for pid in left:
            send(pid, signal.SIGKILL)
        killed += bool(left)
        scene.await_workers(1)
        return True

    besiege(scene, workers, feature="five", runs=runs, blows=rounds, strike=strike, seconds=0.1)
    scene.wait(scene.size(300, 120))
    verdict = scene.judge(FIVE, extra=killed)
    found = f"{rounds} SIGTERM, {killed} SIGKILL, {len(verdict.lost)} lost, {verdict.extra} extra"
    return f"{len(scene.runs())} x 5", found


def whole_group(scene):
    """SIGTERM to worker and work-horse at once is a hand-over, and no crash of the task."""
    count = scene.size(50, 8)
    workers = scene.workers(3)

    def strike(workers):
        busy = [pid for pid in workers.alive() if children(pid)]
        if not busy:
            return False
        worker = scene.random.choice(busy)
        members = [pid for pid, session in sessions() if session == worker]
        for pid in members:
            send(pid, signal.SIGTERM)
        left = wait_until_gone(members, 10)
        scene.check(not left, "a group did not end within 10 s")
        return True

    struck = besiege(scene, workers, feature="five", runs=count, blows=count, strike=strike, seconds=0.15)
    scene.wait(scene.size(200, 90))
    verdict = scene.judge(FIVE, extra=0)
    lost = scene.lost_rows()
    scene.check(not lost, f"{lost} executions were taken for crashes")
    resumed = sum(run.token - 1 for run in scene.runs())
    scene.check(resumed >= struck // 4, f"only {resumed} hand-overs at {struck} SIGTERM to busy groups")
    found = f"{struck} groups, {resumed} hand-overs, {lost} crashes on record, {verdict.extra} extra"
    return f"{len(scene.runs())} x 5", found


SCENARIOS = [
    Scenario(
        number="12",
        fault="rolling SIGTERM, grace 5 s, then SIGKILL",
        wanted="0 lost",
        play=rolling,
    ),
    Scenario(
        number="13",
        fault="SIGTERM to the whole process group",
        wanted="resumed, crash budget untouched",
        play=whole_group,
    ),
]
