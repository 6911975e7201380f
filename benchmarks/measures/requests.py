"""Requests a second, with what follows COMMIT."""

import shutil
import subprocess
import time
import urllib.error
import urllib.request

from benchmarks.contestants import CONTESTANTS
from benchmarks.measure import Measure, Target
from tests.faults.processes import Supervisor
from tests.faults.servers import free_port
from tests.support.waiting import eventually

#: What wrk posts, and what it prints in the end: requests, microseconds, errors.
SCRIPT = """
wrk.method, wrk.body = "POST", '{"sku": "A-1", "quantity": 2}'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("\\nRESULT %d %d %d\\n", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Requests(Measure):
    """gunicorn with 2 workers of 4 threads, wrk with 16 connections; all views are of one process."""

    name = "requests"
    title = "Requests, gunicorn 2 x 4 threads, wrk -c16, PostgreSQL"
    unit = "requests/s"
    contestants = ("plain", "ours", "rq", "celery", "dramatiq", "huey")
    targets = (
        Target(subject="ours", reference="plain", at_least=0.75),
        Target(subject="ours", reference="rq", at_least=1.15),
    )
    server = None

    def prepare(self):
        """Start the web server, and let each view answer for a moment."""
        if shutil.which("wrk") is None:
            raise RuntimeError("wrk is not installed (Debian: apt install wrk)")
        self.script = self.arena.folder / "post.lua"
        self.script.write_text(SCRIPT)
        self.arena.reset()
        self.port = free_port()
        where = f"127.0.0.1:{self.port}"
        self.server = Supervisor(
            1,
            [
                "-m",
                "gunicorn",
                "django.core.wsgi:get_wsgi_application()",
                "--workers",
                "2",
                "--threads",
                "4",
                "--bind",
                where,
            ],
            environment=self.arena.environment("postgres"),
            log=self.arena.folder / "gunicorn.log",
            restart=False,
        )
        eventually(self._answers, timeout=60, message=f"gunicorn does not answer; {self.arena.log('gunicorn')}")
        for contestant in self.contestants:
            self._load(contestant, 1)

    def once(self, contestant):
        """Load one view."""
        self.arena.reset()
        figure = self._load(contestant, self.scale.seconds)
        orders = self._count()
        while orders != (orders := self._count()):
            pass  # what wrk has not waited for is still being answered
        self._judge(contestant)
        return {contestant: figure}

    def _load(self, contestant, seconds):
        url = f"http://127.0.0.1:{self.port}/{'order' if contestant == 'ours' else contestant}/"
        command = ["wrk", "-c16", "-t2", f"-d{seconds}s", "-s", str(self.script), url]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        requests, microseconds, errors = map(int, printed.split("RESULT")[1].split())
        if errors:
            self.arena.wrong.append(f"{contestant}: {errors} of {requests} requests failed")
        return requests / microseconds * 1e6

    def _answers(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/nothing/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def _count(self):
        time.sleep(0.2)
        return self.arena.clerk().audit()["Order"]

    def _judge(self, contestant):
        """There is to be one entry in the queue, and with us one row, for each order."""
        audit = self.arena.clerk().audit()
        queue = CONTESTANTS[contestant].queue if contestant != "plain" else ""
        found = {self.arena.redis.client.llen(queue)} if queue else {audit["Order"]}
        if contestant == "ours":
            found.add(sum(audit["FeatureRun"].values()))
        if found != {audit["Order"]}:
            self.arena.wrong.append(f"{contestant}: not one entry in the queue for each order: {found}, {audit}")

    def end(self):
        """Stop the web server."""
        if self.server is not None:
            self.server.end()
