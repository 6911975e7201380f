"""A reader of the docs: writes the files of a page, types its commands, and compares what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.brokers import free_port
from tests.support.sites import ROOT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A folder with the wheels of this package and of its dependencies, from which the pages' ``pip install`` installs.
#: Without it, nothing is installed, and the tests' own Python runs this checkout.
WHEELS = os.environ.get("NUMFLOW_WHEELS")
#: Commands that install the package, which are skipped without WHEELS.
INSTALLING = ("python3 -m venv", ". .venv/", "pip install")
#: Commands that keep running, and what they print when they are ready.
SERVERS = {"numflow_broker": "The broker is at", "rqworker": "Listening on", "runserver": "Quit the server with"}
#: Seconds to wait for one event, on a busy machine with three processes.
PATIENCE = 60
#: A warning of a check, such as "(numflow.W204)", or of Python. Not runserver's own, in upper case.
WARNING = re.compile(r"\(\w+\.W\d+\)|Warning")


def sections(page: Path) -> dict[str, str]:
    """Return the sections of a page, title -> text; what comes before the first has no title."""
    parts = re.split(r"^## (.*)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


@contextmanager
def reading() -> Iterator[Reader]:
    """Yield a Reader in an empty folder, and stop the processes that it has started."""
    # pytest's own folders can be too long for a socket's path
    with tempfile.TemporaryDirectory(prefix="nf-") as folder, ExitStack() as processes:
        yield Reader(Path(folder), processes)


class Reader:
    """Follows pages in *folder*."""

    def __init__(self, folder: Path, processes: ExitStack) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.output = ""  # of the last block of commands
        self._processes = processes
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        # The tests' own site and environment must not be inherited
        unwanted = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL", "PYTHONPATH", "VIRTUAL_ENV")
        self.environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        # Log files must show each line at once, as a terminal does; and warnings of what Django will remove are shown
        self.environment |= {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "default::PendingDeprecationWarning"}
        self._find_programs(Path(sys.executable).parent)
        if WHEELS:
            self.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(Path(WHEELS).resolve())}
        else:
            self.environment["PYTHONPATH"] = str(ROOT)

    def follow(self, page: str) -> None:
        """Do what the blocks of *page* say, one after another."""
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        assert blocks, f"no code block is in:\n{page}"
        for (kind, block), (following, _) in pairwise([*blocks, ("", "")]):
            if kind == "python":
                self.write(block)
            elif kind == "sh":
                self.type(block, may_fail=following == "text")
            elif kind == "text":
                self.compare(block)

    def write(self, block: str) -> None:
        """Write the files of a block."""
        parts = re.split(r"^# (\S+\.py)(, at the end)?\n", block, flags=re.MULTILINE)[1:]
        assert parts, f"no file is named in:\n{block}"
        with self.restarting():
            for name, end, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a" if end else "w", encoding="utf-8") as file:
                    file.write(text)

    @contextmanager
    def restarting(self) -> Iterator[None]:
        """Wait, after an edit, until the web server has restarted, if one is running."""
        started = self.log("runserver").count(SERVERS["runserver"])
        yield
        if "runserver" in self._servers:
            self.wait_for("runserver", started + 1)

    def type(self, block: str, *, may_fail: bool = False) -> None:
        """Type the commands of a block, each in its terminal; *may_fail*: the page shows their error."""
        self.output = ""
        for command in block.splitlines():
            name = next((name for name in SERVERS if f"manage.py {name}" in command), None)
            if name:
                self.serve(name, command)
            elif WHEELS or not command.startswith(INSTALLING):
                self.output += self.run(command, may_fail=may_fail)

    def run(self, command: str, *, may_fail: bool = False) -> str:
        """Type a command; return what it prints."""
        done = subprocess.run(
            ["bash", "-c", command.replace(":8000", f":{self.port}")],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        assert may_fail or done.returncode == 0, f"$ {command}\n{done.stdout}"
        assert command.startswith(INSTALLING) or not WARNING.search(done.stdout), f"$ {command}\n{done.stdout}"
        self._remember(command)
        return done.stdout

    def serve(self, name: str, command: str) -> None:
        """Start a command that keeps running; first, stop the one of that name with Ctrl+C."""
        if name in self._servers:
            self._servers[name].send_signal(signal.SIGINT)
            self._servers[name].wait(PATIENCE)
        command = command.replace("manage.py runserver", f"manage.py runserver {self.port}")
        started = self.log(name).count(SERVERS[name])
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        self._processes.enter_context(process)
        self._processes.callback(process.terminate)
        self._servers[name] = process
        self.wait_for(name, started + 1)

    def log(self, name: str) -> str:
        """Return what a command that keeps running has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def wait_for(self, name: str, times: int) -> None:
        """Wait until a command that keeps running is ready, for the *times*-th time."""
        ready = SERVERS[name]
        eventually(lambda: self.log(name).count(ready) >= times, timeout=PATIENCE, message=f"{name} is not ready")
        assert not WARNING.search(self.log(name)), self.log(name)

    def compare(self, block: str) -> None:
        """Compare what was printed with what the page says."""
        run_id = r"[0-9a-f]{8}-[0-9a-f-]{27}"
        printed = [re.sub(run_id, "<id>", line) for line in self.output.splitlines()]
        for line in block.splitlines():
            wanted = re.sub(run_id, "<id>", line)
            assert any(wanted in line for line in printed), self.output

    def ask(self, program: str) -> str:
        """Return what *program* prints in the project's shell."""
        return self.run(f'python manage.py shell --verbosity 0 -c "{program}"').strip()

    def _remember(self, command: str) -> None:
        """Remember what a command changes in a shell: the folder, and the path of its programs."""
        if moved := re.search(r"\bcd (\S+)", command):
            self.folder /= moved[1]
        if activated := re.search(r"^\. (\S+)/activate$", command):
            self._find_programs(self.folder / activated[1])

    def _find_programs(self, folder: Path) -> None:
        self.environment["PATH"] = f"{folder}{os.pathsep}{self.environment['PATH']}"
