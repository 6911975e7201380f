"""kill -9, at any moment, of work-horses, workers, and both."""

import signal
from collections import Counter

from tests.faults.processes import children, send
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scenarios.siege import besiege
from tests.faults.scene import FIVE

#: More than any task of any run can be hit by chance: this is about what is lost, not about who gives up.
NO_BUDGET = 1_000


def killing(scene):
    """Nothing is lost, order is kept, no more is repeated than was killed, and atomic tasks take effect once."""
    runs, blows = scene.size((300, 150), (40, 20))
    kinds = Counter()

    def strike(workers):
        kind = scene.random.choice(["work-horse"] * 3 + ["worker", "both"])
        pairs = [(pid, horse) for pid in workers.alive() for horse in children(pid)]
        orphans = [pid for pid in workers.orphans() if pid not in {horse for _, horse in pairs}]
        if not pairs and not orphans:
            return False
        if not pairs or (orphans and scene.random.random() < 0.2):
            kind, victims = "orphan", [scene.random.choice(orphans)]
        else:
            worker, horse = scene.random.choice(pairs)
            victims = {"work-horse": [horse], "worker": [worker], "both": [worker, horse]}[kind]
        hits = [send(victim, signal.SIGKILL) for victim in victims]
        if not any(hits):
            return False
        kinds[kind] += 1
        return True

    workers = scene.workers(4, TASK_MAX_CRASHES=NO_BUDGET)
    struck = besiege(scene, workers, feature="five", runs=runs, blows=blows, strike=strike, seconds=0.05)
    scene.wait(scene.size(300, 90))

    verdict = scene.judge(FIVE, extra=struck)
    kinds_of = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    found = (
        f"{struck} kills ({kinds_of}), {len(verdict.lost)} lost, {verdict.extra} extra, {scene.lost_rows()} on record"
    )
    return f"{len(scene.runs())} x 5", found


SCENARIOS = [
    Scenario(
        number="3",
        fault="`kill -9` work-horse, worker, both",
        wanted="0 lost, order kept, extra executions <= kills, `atomic` effects exactly one",
        play=killing,
    )
]
