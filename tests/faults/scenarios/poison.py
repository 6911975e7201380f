"""Tasks that end, or never end, their process."""

from collections import Counter

from tests.faults.scenarios.scenario import Scenario

#: Kind, and how often it is executed before it fails for good; TASK_MAX_CRASHES is 3.
KINDS = {
    "segfault": (4,),
    "exit_0": (4,),
    "exit_1": (4,),
    "out_of_memory": (1, 4),  # a MemoryError that is recorded, if there is memory for that
    "endless": (1,),
    "deaf": (1,),
}


def poisoned(scene):
    """A poisonous task fails by its budget; the task after it, and all other runs, are done."""
    times, healthy = scene.size((5, 200), (1, 30))
    scene.workers(3)
    kind_of = {}
    for number in range(healthy):
        scene.start("one")
        if number % max(1, healthy // (times * len(KINDS))) == 0 and len(kind_of) < times * len(KINDS):
            kind = list(KINDS)[len(kind_of) % len(KINDS)]
            kind_of[str(scene.start("poison", kind=kind))] = kind
    scene.wait(scene.size(400, 90))

    runs = {str(run.pk): run for run in scene.runs()}
    begun = Counter((line.run, line.task) for line in scene.ledger.begun())
    for run, kind in kind_of.items():
        executions, state = begun[run, "swallow"], runs[run].state
        as_wanted = state == "failed" and min(KINDS[kind]) <= executions <= max(KINDS[kind])
        scene.check(as_wanted, f"{kind}: {state} after {executions} executions, {runs[run].reason}")
        scene.check(begun[run, "after"] == 1, f"{kind}: the task after it ran {begun[run, 'after']} times")
    well = [run for run in runs if run not in kind_of]
    done = sum(runs[run].state == "succeeded" and begun[run, "solo"] == 1 for run in well)
    scene.check(done == len(well) == healthy, f"{done} of {healthy} healthy runs done")
    scene.check(all(count == 1 for count in scene.effects().values()), "an effect twice")
    failed = sum(runs[run].state == "failed" for run in kind_of)
    return f"6 x {times} among {healthy}", f"{failed} of {len(kind_of)} failed by their budget, {done} healthy done"


SCENARIOS = [
    Scenario(
        number="11",
        fault="poison: segfault, `os._exit(0)`, `os._exit(1)`, out of memory, endless loop, endless and deaf loop",
        wanted="poison failed by its budget, healthy all done",
        play=poisoned,
    )
]
