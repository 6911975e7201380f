"""One scenario's stage: fresh tables, an empty Redis, its own folder, and the processes that it starts."""

import http.client
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.db import InterfaceError, OperationalError, connection, transaction

from numflow_django import start_run
from numflow_django.broker import queues
from numflow_django.models import ENDED, FeatureRun, TaskExecution
from tests.faults.ledger import Ledger
from tests.faults.processes import Supervisor
from tests.faults.servers import free_port
from tests.faults.site.models import Effect, Order
from tests.support.waiting import eventually

#: What the processes of a scenario get unless it says otherwise.
NUMFLOW = {"LEASE_SECONDS": 3, "RELAY_SECONDS": 1}

THREE = ["alpha", "beta", "gamma"]
FIVE = ["alpha", "beta", "gamma", "delta", "epsilon"]
ATOMIC = {"beta", "delta", "solo"}


@dataclass
class Answer:
    """What came of one request; without a status, the connection ended before an answer."""

    item: str
    status: int | None
    run: str | None
    seconds: float


@dataclass
class Scene:
    """What a scenario works with."""

    folder: object
    redis: object
    base: object
    seed: str
    short: bool
    progress: object  # called with a line of text
    wrong: list = field(default_factory=list)
    supervisors: list = field(default_factory=list)
    port: int = 0

    def __enter__(self):
        self.random = random.Random(self.seed)
        self.ledger = Ledger(self.folder)
        (self.folder / "plans").mkdir(parents=True)
        if self.redis.process is None:
            self.redis.start()
        self.redis.client.flushall()
        queues.reset()
        for model in (TaskExecution, FeatureRun, Effect, Order):
            self.query(model.objects.all().delete)
        return self

    def __exit__(self, *error):
        for supervisor in self.supervisors:
            supervisor.end()
        connection.close()

    def size(self, full, short):
        """How many, in this run of the suite."""
        return short if self.short else full

    # Processes

    def processes(self, name, count, command, *, restart=True, **numflow):
        """Start *count* processes of ``python <command>``; they end with the scene."""
        environment = {"FAULTS_FOLDER": str(self.folder), "FAULTS_NUMFLOW": json.dumps(NUMFLOW | numflow)}
        log = self.folder / f"{name}.log"
        supervisor = Supervisor(count, command, environment=environment, log=log, restart=restart)
        self.supervisors.append(supervisor)
        return supervisor

    def workers(self, count=2, **numflow):
        """Start workers, and wait until they listen."""
        command = ["-m", "django", "rqworker", "default"]
        workers = self.processes("workers", count, command, **numflow)
        self.await_workers(count)
        return workers

    def pool(self, count, **numflow):
        """Start one ``rqworker-pool`` of *count* workers."""
        pool = self.processes(
            "pool", 1, ["-m", "django", "rqworker-pool", "default", "--num-workers", str(count)], **numflow
        )
        self.await_workers(count)
        return pool

    def await_workers(self, count):
        """Wait until *count* workers are known to Redis."""
        eventually(
            lambda: self.redis.client.scard("rq:workers") >= count, timeout=60, message="The workers do not start"
        )

    def web(self, count=4, **numflow):
        """Start a web server of *count* processes, and wait until it answers."""
        self.port = free_port()
        web = self.processes("web", 1, ["-m", "tests.faults.web", str(self.port), str(count)], **numflow)
        eventually(lambda: self._get("/nothing/") == 404, timeout=60, message="The web server does not start")
        return web

    # Requests and runs

    def _get(self, path):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.request("GET", path)
            return client.getresponse().status
        except OSError:
            return None
        finally:
            client.close()

    def post(self, item, feature="three", **values):
        """One request."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        began = time.monotonic()
        status = run = None
        try:
            body = json.dumps({"item": item, **values})
            client.request("POST", f"/{feature}/", body, {"Content-Type": "application/json"})
            response = client.getresponse()
            response.read()
            status, run = response.status, response.getheader("Numflow-Run")
        except (OSError, http.client.HTTPException):
            pass  # killed, as it was meant to be
        finally:
            client.close()
        return Answer(item, status, run, time.monotonic() - began)

    def post_all(self, items, clients=4, **values):
        """Many requests, from several clients at once."""
        with ThreadPoolExecutor(clients) as executor:
            return list(executor.map(lambda item: self.post(item, **values), items))

    def plan(self, name, edge, action, task="-"):
        """Let the process that reaches *edge* of the run or the request *name* meet its fault, once."""
        plan = self.folder / "plans" / str(name)
        draft = plan.with_suffix(".draft")
        draft.write_text(f"{edge} {task} {action}\n")
        draft.rename(plan)

    def start(self, feature, plan=None, **values):
        """Start a run, with a *plan* (edge, action, task) if one is given; give its id."""
        with transaction.atomic():
            run = start_run(f"site.{feature}", values)
            if plan:
                self.plan(run.pk, *plan)
        return run.pk

    def query(self, question):
        """Ask the database; again, while it is being restarted."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return question()
            except (OperationalError, InterfaceError):
                connection.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def runs(self):
        """All runs of this scene."""
        return self.query(lambda: list(FeatureRun.objects.order_by("pk")))

    def wait(self, seconds, what="runs"):
        """Wait until every run has ended, for at most *seconds*; give those that have not."""
        deadline = time.monotonic() + seconds
        while True:
            open_runs = self.query(lambda: list(FeatureRun.objects.exclude(state__in=[*ENDED, "rolled_back"])))
            if not open_runs or time.monotonic() > deadline:
                break
            self.progress(f"{len(open_runs)} {what} open")
            time.sleep(0.25)
        self.check(
            not open_runs, f"{len(open_runs)} not ended: {[(str(r.pk), r.state, r.reason) for r in open_runs[:3]]}"
        )
        return open_runs

    # Verdicts

    def check(self, condition, message):
        """Note *message* as wrong unless *condition* holds."""
        if not condition:
            self.wrong.append(message)

    def effects(self):
        """How often each (run, task) took effect."""
        return Counter(
            (str(run), task) for run, task in self.query(lambda: list(Effect.objects.values_list("run", "task")))
        )

    def lost_rows(self):
        """The executions that our own tables call lost."""
        return self.query(TaskExecution.objects.filter(state="lost").count)

    def judge(self, tasks, *, extra, may_repeat=False):
        """What holds in every scenario: nothing lost, order kept, *extra* executions at most, effects exactly once."""
        runs = self.runs()
        ids = [run.pk for run in runs]
        verdict = self.ledger.judge(ids, tasks, may_repeat=may_repeat)
        self.check(not verdict.lost, f"{len(verdict.lost)} lost: {verdict.lost[:3]}")
        self.check(not verdict.disorder, f"{len(verdict.disorder)} out of order: {verdict.disorder[:3]}")
        self.check(verdict.extra <= extra, f"{verdict.extra} extra executions, at most {extra} may be")
        bad = [(str(run.pk), run.state, run.reason) for run in runs if run.state != "succeeded"]
        self.check(not bad, f"{len(bad)} runs not succeeded: {bad[:3]}")
        wanted = {(str(run), task): 1 for run in ids for task in tasks if task in ATOMIC}
        self.check(self.effects() == wanted, f"effects differ: {_difference(self.effects(), wanted)}")
        return verdict


def _difference(found, wanted):
    keys = [key for key in {*found, *wanted} if found.get(key, 0) != wanted.get(key, 0)]
    return [(key, found.get(key, 0)) for key in keys[:3]]
