"""More workers."""

from benchmarks.measure import Measure, Target


class Scaling(Measure):
    """Tasks that wait 50 ms: what one worker does, and each of several."""

    name = "scaling"
    title = "Workers on tasks that wait 50 ms: runs of each worker"
    unit = "runs/s/worker"
    most_rounds = 3

    def __init__(self, arena, scale):
        super().__init__(arena, scale)
        self.contestants = tuple(str(count) for count in scale.workers)
        self.targets = tuple(
            Target(subject=_series(count), reference=_series(scale.workers[0]), at_least=0.9)
            for count in scale.workers[1:]
        )

    def once(self, contestant):
        """Drain with so many workers."""
        count = int(contestant)
        rate = self.arena.drain("ours", self.scale.waits * count, workers=count, wait=50)
        return {_series(count): rate / count}


def _series(count):
    return f"{count} worker{'s' * (count > 1)}"
