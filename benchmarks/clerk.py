"""The other end of :mod:`benchmarks.site.clerk`: a process of the site that fills, counts and measures."""

import json
import subprocess
import sys
from functools import partial


class Clerk:
    """``clerk.fill("ours", 100)`` calls ``fill("ours", 100)`` in that process."""

    def __init__(self, environment, log):
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.site.clerk"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def __getattr__(self, name):
        return partial(self._ask, name)

    def _ask(self, *question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the clerk died of {question}: {self._log.read_text()[-2000:]}")
        return json.loads(answer)

    def dismiss(self):
        """End it."""
        self._process.kill()
        self._process.communicate()
