"""Real databases and real processes for the tests, and the end of all of them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.db import connections

from tests.settings import database
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

#: Seconds that bound a failure: a busy machine starts a process in two or three.
PATIENCE = 30


@contextmanager
def own_database(alias: str, folder: Path) -> Iterator[str]:
    """
    Make a database of the kind that the tests use, with all tables, which other threads and processes can open.

    It can be used under *alias* until it is dropped; give its name, on SQLite a path in *folder*.
    """
    config = database("default")
    name = str(folder / f"{alias}.sqlite3") if "sqlite3" in str(config["ENGINE"]) else f"numflow_{alias}_{os.getpid()}"
    # Without migrations: one of django_rq's writes to "default", whatever database it is run on
    own = {**config, "TEST": {"NAME": name, "MIGRATE": False}}
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: own})[alias]
    connection = connections[alias]
    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        yield name
    finally:
        _hang_up_the_others(alias)
        connection.creation.destroy_test_db(str(config["NAME"]), verbosity=0)
        del connections[alias], connections.settings[alias]


def _hang_up_the_others(alias: str) -> None:
    """PostgreSQL drops no database that a killed process is still connected to, as far as it knows."""
    if connections[alias].vendor == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


class Processes:
    """Commands of Django in processes of their own, all with one environment; their output goes to files."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str) -> Path:
        """Start ``python -m django <command>``; give the file of its output."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "django", *command],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        return log

    def web(self) -> str:
        """Start a web server on a port that the system chooses; give its URL."""
        log = self.start("web", "runserver", "--noreload", "--skip-checks", "127.0.0.1:0")
        found = eventually(
            lambda: re.search(r"http://127\.0\.0\.1:[0-9]+/", log.read_text()),
            timeout=PATIENCE,
            message=f"The web server has not started:\n{log.read_text()}",
        )
        return found[0]

    def worker(self, queue: str, *options: str) -> None:
        """Start an RQ worker of *queue*, just as it comes."""
        self.start(f"worker-{queue}", "rqworker", queue, *options)

    def output(self) -> str:
        """What all of them have printed."""
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        """Kill them all, and the work-horses that they have forked, which lead process groups of their own."""
        for process in self.running:
            eventually(lambda pid=process.pid: not _kill_session(pid), message=f"{process.args} does not end")
            process.wait()


def _kill_session(leader: int) -> list[int]:
    """Kill the processes of one session; give those that were there."""
    members = [pid for pid in _processes() if _session(pid) == leader]
    for pid in members:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return members


def _processes() -> Iterator[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        pid, state = line.split()
        # "Zl": its first thread has ended, the others still hold its connections
        if not state.startswith("Z") or "l" in state:
            yield int(pid)


def _session(pid: int) -> int | None:
    with suppress(ProcessLookupError, PermissionError):
        return os.getsid(pid)
    return None
