"""The servers that are killed: a Redis and a database of the suite's own, in a folder that goes with them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis

from numflow_django.embedded import _find_server
from tests.support.waiting import eventually

#: Seconds that bound a failure of a server to start or to end.
PATIENCE = 60


def free_port():
    """A port of this host on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class RedisServer:
    """A Redis that keeps nothing: killed and started again it is empty."""

    def __init__(self, folder, host="127.0.0.1"):
        self.folder, self.host, self.port, self.process = folder, host, free_port(), None
        self.client = Redis(host=host, port=self.port, socket_timeout=5)

    def start(self):
        """Start it; it answers when this returns."""
        command = [_find_server(), "--port", str(self.port), "--bind", self.host, "--protected-mode", "no"]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no", "--dir", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(self._answers, timeout=PATIENCE, message="Redis does not answer")

    def _answers(self):
        with suppress(Exception):
            return self.client.ping()
        return False

    def kill(self):
        """End it without a word, stopped or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.client.close()

    def stop_answering(self):
        """Let it accept connections and answer nothing: a black hole."""
        self.process.send_signal(signal.SIGSTOP)

    def answer_again(self):
        """End the black hole."""
        self.process.send_signal(signal.SIGCONT)


class Postgres:
    """A PostgreSQL cluster of the suite's own, with fsync, because it is killed."""

    vendor = "postgresql"

    def __init__(self, folder, host="127.0.0.1"):
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.data, self.port, self.process = folder / "postgres", free_port(), None
        self.log = folder / "postgres.log"
        # PostgreSQL refuses to run as root
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self.settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": host,
            "PORT": str(self.port),
            "OPTIONS": {"connect_timeout": 5, "prepare_threshold": 5},
        }

    def start(self):
        """Make the cluster, the first time, and start it; it answers when this returns."""
        if not self.data.exists():
            self.data.mkdir(mode=0o700)
            if self.user:
                shutil.chown(self.data, "postgres", "postgres")
            options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
            self._run("initdb", "-D", str(self.data), *options)
            with (self.data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        settings = [f"port={self.port}", f"listen_addresses={self.settings['HOST']}", "unix_socket_directories="]
        options = [word for setting in [*settings, "fsync=on", "max_connections=200"] for word in ("-c", setting)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", str(self.data), *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.user,
            )
        eventually(self._answers, timeout=PATIENCE, message="PostgreSQL does not answer")

    def _run(self, program, *arguments):
        subprocess.run([self.programs / program, *arguments], cwd="/", check=True, capture_output=True, **self.user)

    def _answers(self):
        arguments = ["-q", "-h", self.settings["HOST"], "-p", str(self.port)]
        return subprocess.run([self.programs / "pg_isready", *arguments], check=False).returncode == 0

    def stop(self, *, crash):
        """End it: with *crash* as a power failure would (what is not on the disk is lost), else at once but orderly."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self.process.wait(PATIENCE)
            self.process = None

    def end(self):
        """End it for good."""
        self.stop(crash=True)


class Sqlite:
    """A file, with the options that the documentation asks for."""

    vendor = "sqlite"

    def __init__(self, folder):
        self.settings = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(folder / "db.sqlite3"),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }

    def start(self):
        """Nothing to start."""

    def end(self):
        """Nothing to end; the folder goes."""


class MariaDB:
    """A database of the suite's own in the machine's MariaDB."""

    vendor = "mysql"

    def __init__(self, folder):
        self.settings = {
            "ENGINE": "django.db.backends.mysql",
            "NAME": f"numflow_faults_{os.getpid()}",
            "USER": "root",
            "HOST": "127.0.0.1",
            "PORT": os.environ.get("FAULTS_MARIADB_PORT", "3306"),
        }

    def start(self):
        """Make the database."""
        self._execute("CREATE DATABASE {} CHARACTER SET utf8mb4")

    def end(self):
        """Drop it."""
        self._execute("DROP DATABASE IF EXISTS {}")

    def _execute(self, statement):
        import MySQLdb

        where = self.settings
        connection = MySQLdb.connect(host=where["HOST"], port=int(where["PORT"]), user=where["USER"])
        connection.cursor().execute(statement.format(where["NAME"]))
        connection.close()


DATABASES = {"postgres": Postgres, "sqlite": Sqlite, "mariadb": MariaDB}


@contextmanager
def servers(database):
    """A folder, a Redis and a database of the kind *database*; all are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="numflow-faults-"))
    folder.chmod(0o755)
    redis, base = RedisServer(folder), DATABASES[database](folder)
    try:
        redis.start()
        base.start()
        yield folder, redis, base
    finally:
        redis.kill()
        base.end()
        shutil.rmtree(folder, ignore_errors=True)
