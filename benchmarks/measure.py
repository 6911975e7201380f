"""What a measure is: contestants, rounds in which each has its turn, and targets."""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a ratio is to be, *subject* divided by *reference*, round by round; with no bound it is only shown."""

    subject: str
    reference: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self):
        if self.at_least is None and self.at_most is None:
            return "none"
        return f"≥ {self.at_least:g}" if self.at_most is None else f"≤ {self.at_most:g}"

    def verdict(self, ratio):
        """Whether a ratio is good enough, in a word."""
        if str(self) == "none":
            return ""
        low, high = self.at_least or 0, self.at_most or inf
        return "met" if low <= ratio <= high else "MISSED"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything: the rounds, and what one round measures."""

    rounds: int = 5
    runs: int = 2_000  # of a drain
    seconds: int = 4  # of load on one view
    requests: int = 300  # through ten steps
    samples: int = 100  # of a pickup from a worker that was busy a moment ago
    cold: int = 5  # of a pickup from a worker that has had nothing to do for some seconds
    lifetime: int = 50_000  # runs of the worker whose memory is looked at
    finished: int = 1_000_000  # runs of the history
    pending: int = 50_000
    ticks: int = 30
    workers: tuple[int, ...] = (1, 2, 4, 8, 16)
    waits: int = 20  # runs of each worker, whose tasks wait
    features: int = 1_000


FULL = Scale()
QUICK = Scale(
    rounds=1,
    runs=300,
    seconds=2,
    requests=100,
    samples=30,
    cold=2,
    lifetime=1_000,
    finished=50_000,
    pending=5_000,
    ticks=10,
    workers=(1, 2, 4),
    waits=10,
    features=200,
)


class Measure:
    """One thing that is measured. The contestants take turns in each round, so that all meet the same weather."""

    name = ""
    title = ""  # a format of *scale*
    unit = ""
    contestants: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    most_rounds: int | None = None  # of a measure that takes its time

    def __init__(self, arena, scale):
        self.arena, self.scale = arena, scale
        self.title = self.title.format(scale=scale)

    def prepare(self):
        """Called once, before the first round."""

    def once(self, contestant):
        """Called for each contestant in each round; give the figures, by the name of their series."""
        raise NotImplementedError

    def end(self):
        """Called once, after the last round."""
