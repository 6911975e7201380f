"""What the suite prints: a progress line, and in the end a table."""

import sys
import time
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Row:
    """The outcome of one scenario."""

    number: str
    fault: str
    size: str
    wanted: str
    found: str = ""
    wrong: list = field(default_factory=list)
    seconds: float = 0.0

    def markdown(self):
        """One line of the table."""
        verdict = "pass" if not self.wrong else "FAIL"
        return f"| {self.number} | {self.fault} | {self.size} | {self.wanted} | {self.found} | {verdict} | {self.seconds:.0f} s |"


HEAD = "| # | fault | runs x tasks | to pass | measured | | time |\n| --- | --- | --- | --- | --- | --- | --- |"


class Progress:
    """One line that is written over on a terminal, and only now and then in a file."""

    def __init__(self):
        self.name, self.began, self.last = "", time.monotonic(), 0.0

    def begin(self, name):
        """Name what follows."""
        self.name, self.began = name, time.monotonic()
        self("...")

    def __call__(self, text):
        """Show where the scenario is."""
        tty = sys.stderr.isatty()
        if time.monotonic() - self.last < (0.2 if tty else 15):
            return
        self.last = time.monotonic()
        line = f"[{time.monotonic() - self.began:4.0f} s] {self.name}: {text}"
        print(f"\r{line:<110.110}" if tty else line, end="" if tty else "\n", file=sys.stderr, flush=True)

    def end(self, row):
        """Show how it went."""
        clear = "\r" + " " * 110 + "\r" if sys.stderr.isatty() else ""
        print(
            f"{clear}{'ok  ' if not row.wrong else 'FAIL'} {row.seconds:4.0f} s  {row.number:>2} {row.fault}: {row.found}",
            file=sys.stderr,
            flush=True,
        )
        for wrong in row.wrong:
            print(f"       {wrong}", file=sys.stderr, flush=True)
        self.last = 0.0


def table(rows):
    """The summary."""
    return "\n".join([HEAD, *(row.markdown() for row in rows)])
