"""How long a recovery takes."""

import time

from tests.faults.scenarios.scenario import Scenario
from tests.support.waiting import eventually


def recovering(scene):
    """The times that the documentation promises; the full suite measures them with the default settings."""
    lease, relay = scene.size((60, 10), (6, 2))
    workers = scene.workers(2, LEASE_SECONDS=lease, RELAY_SECONDS=relay)
    horse = _until_resumed(scene, "horse", lease + relay + 30)
    scene.check(horse < 10, f"a killed work-horse's run went on after {horse:.1f} s")
    machine = _until_resumed(scene, "both", lease + relay + 30)
    scene.check(machine < lease + relay + 1, f"a killed machine's run went on after {machine:.1f} s")

    scene.await_workers(2)
    time.sleep(relay + 1)
    # Longer than a tick: the relay goes on while the workers are busy. Not in a transaction, which would hold SQLite's
    # one lock for as long
    busy = [scene.start("three", ("in-task", f"sleep={1.5 * relay}", "alpha")) for _ in workers.alive()]
    eventually(lambda: all(scene.ledger.begun(run) for run in busy), timeout=30, message="the workers are not busy")
    for _ in range(20):
        scene.start("one")
    scene.redis.client.flushall()
    flushed = time.monotonic()
    message = "the runs are not enqueued again"
    eventually(lambda: scene.redis.client.llen("rq:queue:default") >= 20, timeout=2 * relay + 30, message=message)
    flush = time.monotonic() - flushed
    scene.check(flush < 2 * relay, f"the last run that Redis had lost was enqueued again after {flush:.1f} s")
    scene.wait(60)
    found = f"work-horse {horse:.1f} s, machine {machine:.1f} s, flush {flush:.1f} s"
    return f"lease {lease} s, relay {relay} s", found


def _until_resumed(scene, action, limit):
    run = scene.start("three", ("in-task", action, "alpha"))
    eventually(lambda: len(scene.ledger.begun(run)) >= 2, timeout=limit, message=f"{action}: not resumed")
    first, second = scene.ledger.begun(run)[:2]
    scene.wait(30)
    return second.at - first.at


SCENARIOS = [
    Scenario(
        number="14",
        fault="recovery after a killed work-horse, a killed machine, a flushed Redis",
        wanted="10 s, lease + relay interval, two relay intervals",
        play=recovering,
    )
]
