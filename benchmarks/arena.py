"""Where the contestants meet: a Redis and databases of the benchmarks' own, in a folder that goes with them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.clerk import Clerk
from benchmarks.crew import PATIENCE, Crew
from benchmarks.ledger import Ledger
from tests.faults.processes import ROOT
from tests.faults.servers import Postgres, RedisServer, Sqlite


class Arena:
    """The servers, and what is done with all contestants alike."""

    def __init__(self, folder, redis, postgres):
        self.folder, self.redis, self.postgres = folder, redis, postgres
        self.ledger = Ledger(folder / "ledger")
        self.clerks = {}
        self.wrong = []

    def settings_of(self, database):
        """Django's settings of a *database*: ``sqlite``, or a name in the cluster."""
        if database == "sqlite":
            return Sqlite(self.folder).settings
        return {**self.postgres.settings, "NAME": database}

    def environment(self, database):
        """The environment of all processes that use *database*."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
            "BENCH_DATABASE": json.dumps(self.settings_of(database)),
            "BENCH_REDIS_PORT": str(self.redis.port),
            "BENCH_LEDGER": str(self.ledger.path),
        }

    def clerk(self, database="postgres"):
        """The clerk of *database*, with which that is made."""
        if database not in self.clerks:
            if database not in ("postgres", "sqlite"):
                self._create(database)
            self.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0", database=database)
            self.clerks[database] = Clerk(self.environment(database), self.folder / f"clerk-{database}.log")
        return self.clerks[database]

    def _create(self, database):
        where = self.postgres.settings
        with psycopg.connect(
            host=where["HOST"], port=where["PORT"], user=where["USER"], dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {database}")

    def run(self, *command, database="postgres"):
        """Run a Python command of the site; give what it prints."""
        done = subprocess.run(
            [sys.executable, *command], env=self.environment(database), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def reset(self, database="postgres"):
        """Empty Redis and the tables."""
        self.redis.client.flushall()
        self.clerk(database).reset()

    @contextmanager
    def crew(self, contestant, database="postgres", workers=2):
        """Warm workers of a contestant, and Redis for it alone."""
        self.redis.client.flushall()
        with Crew(self, contestant, database, workers) as crew:
            yield crew

    def drain(self, contestant, runs, *, database="postgres", workers=2, wait=0, empty=True):
        """
        Let *workers* drain *runs* sequences; give the sequences a second, until the last task was done.

        They are enqueued while the workers stand still, so that starting and enqueuing are not measured. With
        *empty*, the tables are emptied before.
        """
        if empty:
            self.reset(database)
        with self.crew(contestant, database, workers) as crew:
            crew.pause()
            self.ledger.clear()
            keys = self.clerk(database).fill(contestant, runs, wait)
            began = time.monotonic_ns()
            crew.resume()
            self.ledger.wait(runs, PATIENCE)
            self.judge(contestant, keys)
            last = max((line.moment for line in self.ledger.lines()), default=began)
            if empty and contestant.startswith("ours"):
                self._judge_tables(database)
        return runs / max(last - began, 1) * 1e9

    def judge(self, contestant, keys):
        """Note what is wrong with the order or the completeness of what was done."""
        self.wrong += [f"{contestant}: {problem}" for problem in self.ledger.problems(keys)]

    def _judge_tables(self, database):
        """Everything is to be logged; the last checkpoint may still be under way."""
        for _ in range(100):
            audit = self.clerk(database).audit()
            runs, log = audit["FeatureRun"], audit["TaskExecution"]
            if set(runs) == set(log) == {"succeeded"} and log["succeeded"] == 3 * runs["succeeded"]:
                return
            time.sleep(0.05)
        self.wrong.append(f"ours: the tables hold {audit}")

    def log(self, name):
        """The end of a contestant's log."""
        path = self.folder / f"{name}.log"
        return f"its log ends with:\n{path.read_text()[-2000:]}" if path.exists() else "it has no log"


@contextmanager
def arena():
    """An arena, whose servers, processes and folder are gone afterwards."""
    folder = _folder()
    redis, postgres = RedisServer(folder), Postgres(folder)
    built = Arena(folder, redis, postgres)
    try:
        redis.start()
        postgres.start()
        yield built
    finally:
        for clerk in built.clerks.values():
            clerk.dismiss()
        redis.kill()
        postgres.end()
        shutil.rmtree(folder, ignore_errors=True)


def _folder():
    folder = Path(tempfile.mkdtemp(prefix="numflow-bench-"))
    folder.chmod(0o755)  # PostgreSQL's user passes through
    return folder
