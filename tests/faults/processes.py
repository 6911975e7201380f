"""The processes that are killed, and a supervisor that starts them again, as systemd's Restart=always would."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class Supervisor:
    """Keeps *count* processes of one command alive; each leads a session, in which all its children are."""

    def __init__(self, count, command, *, environment, log, restart=True, before=()):
        # *before* is what a command stands behind that is to run somewhere else, and becomes that command by exec
        self.command, self.restart, self.log = [*before, sys.executable, *command], restart, log
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **environment}
        self.sessions = set()
        self.restarts = 0
        self.processes = [self._start() for _ in range(count)]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _start(self):
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sessions.add(process.pid)
        return process

    def _watch(self):
        while not self.over.wait(0.05):
            for place, process in enumerate(self.processes):
                if process.poll() is not None and self.restart and not self.over.is_set():
                    self.processes[place] = self._start()
                    self.restarts += 1

    def alive(self):
        """The processes' ids."""
        return [process.pid for process in self.processes if process.poll() is None]

    def end(self):
        """Kill them all, and all that they have forked."""
        self.over.set()
        self.thread.join()
        eventually(lambda: not self._killed(), timeout=30, message=f"{self.command} does not end")
        for process in self.processes:
            process.wait()

    def _killed(self):
        members = [pid for pid, session in sessions() if session in self.sessions]
        for pid in members:
            send(pid, signal.SIGKILL)
        return members

    def orphans(self):
        """Work-horses whose worker is dead."""
        alive = set(self.alive())
        return [pid for pid, session in sessions() if session in self.sessions and pid not in alive | {session}]


def children(pid):
    """The ids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def sessions():
    """Of every process that is not a zombie: its id and its session."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    yield int(entry.name), int(session)


def send(pid, signum):
    """Send a signal; give whether there was somebody to get it."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def is_gone(pid):
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until_gone(pids, seconds):
    """Wait for processes to end; give those that have not."""
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if not is_gone(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
