"""What a worker weighs, and whether it grows."""

import time
from statistics import median

from benchmarks.crew import PATIENCE
from benchmarks.measure import Measure, Target

#: Sequences that are enqueued at a time, of which as many again may wait.
PORTION = 250
#: Seconds after which a worker's life ends before its time.
LONGEST = 300
#: Runs after which a stock worker has shown what it weighs.
SHORT_LIFE = 1_000


class Memory(Measure):
    """One worker with its children (PSS), while it drains a queue that is kept filled; one round."""

    name = "memory"
    title = "Memory of one worker with its children (PSS), over {scale.lifetime:,} runs"
    unit = "MB"
    contestants = ("ours", "rq")
    targets = (
        Target(subject="ours", reference="rq", at_most=1.2),
        Target(subject="ours, last tenth", reference="ours, second tenth", at_most=1.05),
    )
    most_rounds = 1

    def once(self, contestant):
        """Weigh the worker after each portion."""
        runs = self.scale.lifetime if contestant == "ours" else min(self.scale.lifetime, SHORT_LIFE)
        self.arena.reset()
        keys, weights = [], []
        with self.arena.crew(contestant, workers=1) as crew:
            self.arena.ledger.clear()
            deadline = time.monotonic() + LONGEST
            while len(keys) < runs and time.monotonic() < deadline:
                keys += crew.clerk.fill(contestant, PORTION)
                self.arena.ledger.wait(len(keys) - PORTION, PATIENCE)
                crew.pause()  # or a child may end while its parent is weighed, which has half of what they share
                weights.append(crew.megabytes())
                crew.resume()
            self.arena.ledger.wait(len(keys), PATIENCE)
        self.arena.judge(contestant, keys)
        if len(keys) < runs:
            self.arena.wrong.append(f"memory: {contestant} did {len(keys)} of {runs} runs in {LONGEST} s")
        figures = {contestant: median(weights)}
        if contestant == "ours":
            tenth = max(1, len(weights) // 10)
            figures["ours, second tenth"] = median(weights[tenth : 2 * tenth])
            figures["ours, last tenth"] = median(weights[-tenth:])
        return figures
