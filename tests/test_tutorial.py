"""The tutorial, followed in an empty folder as it stands: its files, its commands, and what they are said to print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.brokers import free_port
from tests.sites import ROOT
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

TUTORIAL = ROOT / "docs" / "tutorial.md"

#: What somebody who has this package already has done.
DONE = ("mkdir mysite", "python -m venv", ". .venv/", "pip install")
#: Commands that stay, and what they print when they are ready.
SERVERS = {"numflow_broker": "The broker is at", "rqworker": "Listening on", "runserver": "Starting development server"}
#: Seconds that a site of three processes, on a busy machine, may take for one thing.
PATIENCE = 60

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


class Reader:
    """Somebody who does what a page tells, in an empty folder."""

    def __init__(self, folder: Path, processes: ExitStack) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.output = ""  # of the last block of commands
        self._processes = processes
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        # The shell is to find the tests' own Python; nothing of the tests' site is to be inherited
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        unwanted = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL")
        self.environment = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.environment |= {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def follow(self, page: str) -> None:
        """Do what the blocks of *page* say, one after another."""
        for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
            {"python": self.write, "sh": self.type, "text": self.compare}[kind](block)

    def write(self, block: str) -> None:
        """Write the files of a block; a server that runs starts anew."""
        started = self.log("runserver").count(SERVERS["runserver"])
        parts = re.split(r"^# (\S+\.py)(, at the end)?\n", block, flags=re.MULTILINE)[1:]
        for name, end, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if end else "w") as file:
                file.write(text)
        if "runserver" in self._servers:
            self.wait_for("runserver", started + 1)

    def type(self, block: str) -> None:
        """Type the commands of a block, each in the terminal where it belongs."""
        commands = [line for line in block.splitlines() if not line.startswith(DONE)]
        self.output = ""
        for command in commands:
            name = next((name for name in SERVERS if f"manage.py {name}" in command), None)
            if name:
                self.serve(name, command)
            else:
                self.output += self.run(command)

    def run(self, command: str) -> str:
        """Type a command; give what it prints."""
        done = subprocess.run(
            ["bash", "-c", command.replace(":8000", f":{self.port}")],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # The one command that is to find something
        assert done.returncode == 0 or "numflow.E103" in done.stdout, f"$ {command}\n{done.stdout}"
        return done.stdout

    def serve(self, name: str, command: str) -> None:
        """Start a command that stays; what ran of that name gets Ctrl+C before."""
        if name in self._servers:
            self._servers[name].send_signal(signal.SIGINT)
            self._servers[name].wait(PATIENCE)
        if name == "runserver":
            command += f" {self.port}"
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
        """What a command that stays has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_for(self, name: str, times: int) -> None:
        """Wait until a command that stays is ready, for the *times*-th time."""
        ready = SERVERS[name]
        eventually(lambda: self.log(name).count(ready) >= times, timeout=PATIENCE, message=f"{name} is not ready")

    def compare(self, block: str) -> None:
        """Compare what was printed with what the page says."""
        run_id = r"[0-9a-f]{8}-[0-9a-f-]{27}"
        for line in block.splitlines():
            wanted = re.sub(run_id, "<id>", line)
            assert wanted in re.sub(run_id, "<id>", self.output), self.output

    def ask(self, program: str) -> str:
        """What *program* prints in the project's shell."""
        return self.run(f'python manage.py shell --verbosity 0 -c "{program}"').strip()


@pytest.fixture
def reader() -> Iterator[Reader]:
    # tmp_path can be too long for a socket's path
    with tempfile.TemporaryDirectory(prefix="nf-") as folder, ExitStack() as processes:
        yield Reader(Path(folder), processes)


def test_the_tutorial(reader: Reader) -> None:
    """Whoever follows docs/tutorial.md sees what it says: a tested feature, its runs, a retry and a rollback."""
    sections = re.split(r"^## ", TUTORIAL.read_text(encoding="utf-8"), flags=re.MULTILINE)

    for section in sections:
        title = section.partition("\n")[0]
        reader.follow(section)
        if title in CHECKS:
            CHECKS[title](reader)
        elif title == "A test":
            assert "Ran 2 tests" in reader.output


STATES = "from numflow_django.models import FeatureRun; print(*FeatureRun.objects.order_by('id').values_list('state'))"
TRIES = (
    "from numflow_django.models import TaskExecution; "
    "print(*TaskExecution.objects.order_by('id').values_list('run__path', 'name', 'state')[2:])"
)


def check_the_run(reader: Reader) -> None:
    """The run has succeeded, the mail is in the worker's terminal, and the page is in the admin."""
    eventually(lambda: "succeeded" in reader.ask(STATES), timeout=PATIENCE)
    assert "Your order 1: 18000 won" in reader.log("rqworker")
    page = reader.ask(
        "from django.test import Client; from numflow_django.models import FeatureRun; "
        "c = Client(headers={'host': 'localhost'}); print(c.login(username='demo', password='demo')); "
        "print(c.get(f'/admin/numflow_django/featurerun/{FeatureRun.objects.get().pk}/change/').content.decode())"
    )
    assert page.startswith("True")
    for name in ("validate", "create_order", "respond", "COMMIT", "send_email", "count_sales"):
        assert name in page


def check_the_retry(reader: Reader) -> None:
    """The second run has succeeded, after one failed try."""
    eventually(lambda: reader.ask(STATES).count("succeeded") == 2, timeout=PATIENCE)
    tries = re.findall(r"'(\w+)', '(\w+)'\)", reader.ask(TRIES))
    assert tries == [("send_email", "failed"), ("send_email", "succeeded"), ("count_sales", "succeeded")]


def check_the_rollback(reader: Reader) -> None:
    """The third request has left a row and no order."""
    assert "rolled_back" in reader.ask(STATES)
    assert reader.ask("from shop.models import Order; print(Order.objects.count())") == "2"


CHECKS = {
    "See it run": check_the_run,
    "A task that fails, and is tried again": check_the_retry,
    "A step that fails": check_the_rollback,
}
