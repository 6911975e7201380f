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
        cells = [self.number, self.fault, self.size, self.wanted, self.found, verdict, f"{self.seconds:.0f} s"]
        return f"| {' | '.join(cells)} |"


HEAD = "| # | fault | runs x tasks | to pass | measured | | time |\n| --- | --- | --- | --- | --- | --- | --- |"


def say(text, end="\n"):
    """Write to the terminal, past the table."""
    print(text, end=end, file=sys.stderr, flush=True)  # noqa: T201 - a command


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
        say(f"\r{line:<110.110}" if tty else line, end="" if tty else "\n")

    def end(self, row):
        """Show how it went."""
        clear = "\r" + " " * 110 + "\r" if sys.stderr.isatty() else ""
        verdict = "FAIL" if row.wrong else "ok  "
        say(f"{clear}{verdict} {row.seconds:4.0f} s  {row.number:>2} {row.fault}: {row.found}")
        for wrong in row.wrong:
            say(f"       {wrong}")
        self.last = 0.0


def table(rows):
    """The summary."""
    return "\n".join([HEAD, *(row.markdown() for row in rows)])
