"""Death at every edge of claim, task, checkpoint and finish."""

from collections import Counter, defaultdict

from numflow_django.models import TaskExecution
from tests.faults.scenarios.scenario import Scenario
from tests.faults.scene import THREE

#: Edge, task, executions beyond one a task, executions that are recorded as lost.
EDGES = [
    ("before-claim", "-", 0, 0),
    ("after-claim", "-", 0, 1),
    ("before-task", "beta", 0, 1),
    ("after-task", "beta", 1, 1),
    ("in-checkpoint", "beta", 1, 1),
    ("after-checkpoint", "beta", 0, 1),
    ("in-checkpoint", "gamma", 1, 1),  # the finish, with its COMMIT to come
    ("after-checkpoint", "gamma", 0, 0),  # the run has finished
]


def dying_at_edges(scene):
    """Each edge has its exact number of executions."""
    times = scene.size(20, 4)
    scene.workers(4)
    edge_of = {}
    for time in range(times):
        for edge in EDGES:
            run = scene.start("three", (edge[0], ("horse", "both")[time % 2], edge[1]))
            edge_of[str(run)] = edge
    scene.wait(scene.size(300, 90))

    verdict = scene.judge(THREE, extra=len(EDGES) * times)
    begun = Counter(line.run for line in scene.ledger.begun())
    lost = Counter(str(run) for run in TaskExecution.objects.filter(state="lost").values_list("run_id", flat=True))
    wrong = defaultdict(list)
    for run, edge in edge_of.items():
        _, _, extra, losses = edge
        if begun[run] != len(THREE) + extra or lost[run] != losses:
            wrong[edge[:2]].append((run, begun[run], lost[run]))
    for edge, cases in wrong.items():
        scene.wrong.append(f"{edge}: {len(cases)} of {times}, as (run, executions, lost) {cases[0]}")
    left = len(list((scene.folder / "plans").iterdir()))
    scene.check(not left, f"{left} edges were never reached")
    good = len(edge_of) - sum(map(len, wrong.values()))
    return f"{len(EDGES)} edges x {times}", f"{good} of {len(edge_of)} exact, {verdict.extra} extra in all, as expected"


SCENARIOS = [
    Scenario(
        number="4",
        fault="kill at every edge of claim, task, checkpoint, finish",
        wanted="the exact expected count",
        play=dying_at_edges,
    )
]
