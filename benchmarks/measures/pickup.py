"""From COMMIT to the first task, while there is nothing else to do."""

from statistics import quantiles

from benchmarks.crew import PATIENCE
from benchmarks.measure import Measure, Target


class Pickup(Measure):
    """A sequence every 30 to 80 ms, for workers that were busy a moment ago."""

    name = "pickup"
    title = "Pickup at idle, COMMIT to first task, a sequence every 30 to 80 ms"
    unit = "ms"
    contestants = ("ours", "rq", "rq-simple", "celery", "dramatiq", "huey")
    targets = (
        Target(subject="ours p50", reference="rq p50", at_most=0.4),
        Target(subject="ours p99", reference="rq p99", at_most=1),
    )
    pause = (0.03, 0.08)

    @property
    def samples(self):
        """Sequences of one round."""
        return self.scale.samples

    def once(self, contestant):
        """Enqueue one by one, and look when the first task of each was done."""
        self.arena.reset()
        with self.arena.crew(contestant) as crew:
            self.arena.ledger.clear()
            commits = crew.clerk.pace(contestant, self.samples, *self.pause)
            self.arena.ledger.wait(len(commits), PATIENCE)
        self.arena.judge(contestant, commits)
        firsts = {line.key: line.moment for line in self.arena.ledger.lines() if line.number == 0}
        waits = sorted((firsts[key] - commits[key]) / 1e6 for key in commits if key in firsts)
        cuts = quantiles(waits, n=100, method="inclusive")
        return {f"{contestant} p50": cuts[49], f"{contestant} p99": cuts[98]}


class ColdPickup(Pickup):
    """A sequence every 2.5 to 3 s: whatever a worker keeps warm for a while is cold again."""

    name = "pickup-cold"
    title = "Pickup at idle, COMMIT to first task, after 2.5 to 3 s of silence"
    contestants = ("ours", "rq")
    targets = (Target(subject="ours p50", reference="rq p50"),)
    pause = (2.5, 3.0)

    @property
    def samples(self):
        """Sequences of one round."""
        return self.scale.cold
