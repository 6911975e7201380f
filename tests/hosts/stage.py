"""A data host with PostgreSQL and Redis, a web host, and two hosts with workers, all of the fault suite's site."""

import http.client
import json
import os
import subprocess
import sys

import psycopg

from tests.faults.processes import ROOT, Supervisor
from tests.faults.servers import Postgres, RedisServer
from tests.hosts.network import ADDRESSES
from tests.hosts.truth import Truth
from tests.support.waiting import eventually

#: Seconds that bound a failure.
PATIENCE = 60

WEB_PORT = 8000

NUMFLOW = {"LEASE_SECONDS": 5, "RELAY_SECONDS": 1}

#: What docs/explanation/scaling.md asks for, in short.
TIMEOUTS = {
    "connect_timeout": 2,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
    "options": "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=5000",
}


class Stage:
    """What the test works with; its own thread is on the data host."""

    def __init__(self, folder, network):
        self.network = network
        self.folders = {host: folder / host for host in ADDRESSES}
        for home in self.folders.values():
            home.mkdir()
        address = ADDRESSES["data"]
        self.redis = RedisServer(self.folders["data"], host=address)
        self.base = Postgres(self.folders["data"], host=address)
        self.base.settings["OPTIONS"] = TIMEOUTS
        self.truth = Truth(self.folders)
        self.connection = None
        self.workers = {}
        self.supervisors = []
        self.posted = 0

    def __enter__(self):
        try:
            self.redis.start()
            self.base.start()
            arguments = {"host": self.base.settings["HOST"], "port": self.base.settings["PORT"], "user": "postgres"}
            self.connection = psycopg.connect(**arguments, autocommit=True)
            command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
            subprocess.run(command, cwd=ROOT, env=os.environ | self._environment("data"), check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        for supervisor in self.supervisors:
            supervisor.end()
        if self.connection is not None:
            self.connection.close()
        self.redis.kill()
        self.base.end()

    def _environment(self, host):
        return {
            "DJANGO_SETTINGS_MODULE": "tests.faults.site.settings",
            "PYTHONPATH": str(ROOT),
            "FAULTS_FOLDER": str(self.folders[host]),
            "FAULTS_NUMFLOW": json.dumps(NUMFLOW),
            "FAULTS_DATABASE": json.dumps(self.base.settings),
            "FAULTS_REDIS_HOST": self.redis.host,
            "FAULTS_REDIS_PORT": str(self.redis.port),
        }

    # The hosts

    def _processes(self, host, count, *command):
        log = self.folders[host] / "log"
        supervisor = Supervisor(
            count, command, environment=self._environment(host), log=log, before=self.network.on(host)
        )
        self.supervisors.append(supervisor)
        return supervisor

    def start_workers(self, *hosts, count):
        """Start *count* workers on each of the *hosts*, and wait until they listen."""
        for host in hosts:
            self.workers[host] = self._processes(host, count, "-m", "django", "rqworker", "default")
        for host in hosts:
            eventually(
                lambda host=host: len(self.names(host)) == count, timeout=PATIENCE, message=f"no workers on {host}"
            )

    def names(self, host):
        """The names of the workers on *host*, as Redis knows them."""
        alive = {str(pid).encode() for pid in self.workers[host].alive()}
        keys = self.redis.client.smembers("rq:workers")
        return {key.decode().rpartition(":")[2] for key in keys if self.redis.client.hget(key, "pid") in alive}

    def start_web(self):
        """Start the web server, and wait until it answers."""
        self._processes("web", 1, "-m", "tests.faults.web", str(WEB_PORT), "2", ADDRESSES["web"])
        eventually(lambda: self._status("GET", "/nothing/") == 404, timeout=PATIENCE, message="the web does not answer")

    # Requests

    def _status(self, method, path, body=None):
        client = http.client.HTTPConnection(ADDRESSES["web"], WEB_PORT, timeout=PATIENCE)
        try:
            client.request(method, path, body, {"Content-Type": "application/json"})
            response = client.getresponse()
            response.read()
        except OSError:
            return None
        finally:
            client.close()
        return response.status

    def post(self, count, *, seconds):
        """Ask for *count* runs whose tasks take so many *seconds* each; give the statuses of the answers."""
        statuses = set()
        for _ in range(count):
            self.posted += 1
            body = json.dumps({"item": f"item-{self.posted}", "seconds": seconds, "lock": True})
            statuses.add(self._status("POST", "/three/", body))
        return statuses

    # The database

    def ask(self, query, *values):
        """The rows of a query, and where they have one column, its values."""
        rows = self.connection.execute(query, values).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def held(self, names):
        """The runs that the workers of these *names* hold."""
        query = "SELECT id::text FROM numflow_django_featurerun WHERE state = 'running' AND worker = ANY(%s)"
        return set(self.ask(query, list(names)))

    def is_quiet(self, host):
        """Return whether PostgreSQL works for no client on *host*, so that all it received before a cut is done."""
        query = "SELECT 1 FROM pg_stat_activity WHERE client_addr = %s AND state = 'active'"
        return not self.ask(query, ADDRESSES[host])

    def open(self):
        """The runs that have not succeeded, with what is known of them."""
        query = "SELECT id::text, state, reason, worker FROM numflow_django_featurerun WHERE state <> 'succeeded'"
        return self.ask(query)

    def await_success(self, what):
        """Wait until every run has succeeded."""
        eventually(lambda: not self.open(), timeout=PATIENCE + 40, message=f"{what}: not all runs succeed")

    def logs(self):
        """What the processes have printed."""
        logs = [home / "log" for home in self.folders.values()]
        return "\n".join(f"--- {log}\n{log.read_text()[-6_000:]}" for log in logs if log.exists())
