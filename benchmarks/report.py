"""What is printed and kept: ratios first, then medians and spread."""

import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from benchmarks.measure import Target

PACKAGES = ("numflow-django", "django", "rq", "django-rq", "redis", "psycopg", "celery", "dramatiq", "huey", "gunicorn")


class Progress:
    """A line for each heat, on the terminal and not in the table."""

    def __init__(self):
        self.began = time.monotonic()

    def __call__(self, text):
        """Say where we are."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", file=sys.stderr, flush=True)


class Results:
    """The figures of one measure: for each series, one of each round."""

    def __init__(self, measure, series):
        self.measure = measure
        self.series = {name: [turn[name] for turn in series if name in turn] for turn in series for name in turn}
        self.ratios = {
            target: [ours / other for ours, other in zip(self.series[target.subject], others, strict=True)]
            for target in self._targets()
            if target.subject in self.series and (others := self.series.get(target.reference))
        }

    def _targets(self):
        """The targets, and how we compare with all the others."""
        targeted = {target.reference for target in self.measure.targets}
        others = (name for name in self.measure.contestants if name not in targeted | {"ours"})
        return *self.measure.targets, *(Target(subject="ours", reference=name) for name in others)

    def table(self):
        """The measure in Markdown."""
        lines = [f"## {self.measure.name}: {self.measure.title}", ""]
        if self.ratios:
            lines += ["| ratio | median | lowest to highest | target | |", "| --- | --- | --- | --- | --- |"]
        for target, ratios in self.ratios.items():
            what, middle = f"{target.subject} / {target.reference}", median(ratios)
            lines.append(f"| {what} | {middle:.2f} | {_spread(ratios, 2)} | {target} | {target.verdict(middle)} |")
        lines += ["", f"| {self.measure.unit} | median | lowest to highest | rounds |", "| --- | --- | --- | --- |"]
        for name, figures in self.series.items():
            digits = 0 if median(figures) >= 100 else 2
            lines.append(f"| {name} | {median(figures):.{digits}f} | {_spread(figures, digits)} | {len(figures)} |")
        return "\n".join(lines)

    def as_json(self):
        """The measure for the file."""
        ratios = [
            {"subject": t.subject, "reference": t.reference, "target": str(t), "median": median(r), "rounds": r}
            for t, r in self.ratios.items()
        ]
        return {"title": self.measure.title, "unit": self.measure.unit, "ratios": ratios, "rounds": self.series}


def _spread(figures, digits):
    return f"{min(figures):.{digits}f} to {max(figures):.{digits}f}"


def write(path, command, arena, results):
    """Keep everything as JSON."""
    kept = {
        "command": command,
        "machine": machine(arena),
        "measures": {result.measure.name: result.as_json() for result in results},
        "wrong": arena.wrong,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


def machine(arena):
    """Where and with what it was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _printed("git", "describe", "--always", "--dirty"),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "postgresql": _printed(str(arena.postgres.programs / "postgres"), "--version"),
        "redis": arena.redis.client.info("server")["redis_version"],
        "packages": {name: version(name) for name in PACKAGES},
    }


def _printed(*command):
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
