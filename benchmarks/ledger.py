"""The ground truth of a heat: the lines that the tasks append themselves, whatever queue or table says."""

import time
from collections import defaultdict
from dataclasses import dataclass

from benchmarks.site.work import TASKS


@dataclass(frozen=True)
class Line:
    """One task that was done."""

    key: str
    number: int
    pid: int
    session: int  # of the process that did it; each command that was started leads one
    moment: int  # nanoseconds of the monotonic clock, which all processes of a machine share


class Ledger:
    """One file, emptied before each heat."""

    def __init__(self, path):
        self.path = path
        self.clear()

    def clear(self):
        """Begin anew; whoever appends goes on at the beginning."""
        self.path.open("wb").close()
        self.position = self.seen = 0

    def lines(self):
        """All lines, in the order in which they were written."""
        for line in self.path.read_text().splitlines():
            key, *numbers = line.split()
            yield Line(key, *map(int, numbers))

    def wait(self, sequences, seconds):
        """Wait until so many sequences are done; give False after *seconds* without any progress."""
        deadline = time.monotonic() + seconds
        while self.seen < sequences * TASKS:
            time.sleep(0.01)
            if self._read():
                deadline = time.monotonic() + seconds
            elif time.monotonic() > deadline:
                return False
        return True

    def _read(self):
        with self.path.open("rb") as file:
            file.seek(self.position)
            new = file.read()
        self.position += len(new)
        self.seen += new.count(b"\n")
        return new

    def problems(self, keys):
        """What is wrong: sequences that are not complete, not in order, or that did a task twice."""
        done = defaultdict(list)
        for line in self.lines():
            done[line.key].append(line.number)
        wanted = list(range(TASKS))
        wrong = [key for key in keys if done.pop(key, None) != wanted]
        if wrong:
            yield f"{len(wrong)} of {len(keys)} sequences are incomplete, out of order or were done twice: {wrong[:3]}"
        if done:
            yield f"{len(done)} sequences were done that nobody asked for: {list(done)[:3]}"
