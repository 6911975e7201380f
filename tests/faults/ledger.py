"""The ground truth: the lines that the tasks wrote themselves, whatever our tables say."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Line:
    """One line of a task: it begins or it ends."""

    run: str
    task: str
    attempt: int
    pid: int
    what: str
    at: float


@dataclass
class Verdict:
    """What the lines say about a set of runs."""

    executions: int = 0
    lost: list = field(default_factory=list)  # (run, task) that never ended
    extra: int = 0  # executions beyond one a task
    disorder: list = field(default_factory=list)  # what began out of order


class Ledger:
    """The lines of one scenario."""

    def __init__(self, folder):
        self.path = folder / "ledger"

    def lines(self):
        """All whole lines, in the order in which they were written."""
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            run, task, attempt, pid, what, at = line.split()
            yield Line(run, task, int(attempt), int(pid), what, float(at))

    def begun(self, run=None):
        """The lines of the beginnings, of one run or of all."""
        return [line for line in self.lines() if line.what == "begin" and (run is None or line.run == str(run))]

    def judge(self, runs, tasks, *, may_repeat=False):
        """
        Whether each of the *runs* did each of the *tasks*, in order, and how often.

        A task that begins again after a later one has begun is out of order, unless it *may_repeat*.
        """
        wanted, verdict = {str(run) for run in runs}, Verdict()
        ended, begun = defaultdict(set), defaultdict(int)
        for line in self.lines():
            if line.run not in wanted or line.task not in tasks:
                continue
            place = tasks.index(line.task)
            if line.what == "end":
                ended[line.run].add(line.task)
                continue
            verdict.executions += 1
            begun[line.run, line.task] += 1
            is_late = any(begun[line.run, task] for task in tasks[place + 1 :])
            if set(tasks[:place]) - ended[line.run] or (is_late and not may_repeat):
                verdict.disorder.append((line.run, line.task))
        verdict.extra = sum(count - 1 for count in begun.values())
        verdict.lost = [(run, task) for run in wanted for task in tasks if task not in ended[run]]
        return verdict
