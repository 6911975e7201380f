"""The main job from end to end: a real web server, a real broker, a real RQ worker, and a database that they share."""

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID

import pytest
from redis import Redis

from numflow_django.embedded import EmbeddedBroker
from numflow_django.models import FeatureRun, RunState
from tests.e2e.processes import PATIENCE, Processes, own_database
from tests.market.models import Sale
from tests.support.trees import Tree
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

ALIAS = "e2e"

URLS = """
    from django.urls import include, path
    from numflow_django import feature_urls

    urlpatterns = [
        path("", include(feature_urls("tests.market.features"))),
        path("", include(feature_urls("{package}.features"))),
    ]
"""

# The market's feature, on another queue
BUY = """
    from tests.market.features.buy import feature

    class Buy(feature.Buy):
        path = "{queue}/"
        queue = "{queue}"
        steps = "tests.market.features.buy.steps"
        async_tasks = "tests.market.features.buy.async_tasks"
"""

# A feature whose second task does not end before the test lets it go on
PATIENT = {
    "features/patient/feature.py": """
        from django.views.decorators.csrf import csrf_exempt
        from numflow_django import FeatureView

        class Patient(FeatureView):
            path = "patient/"
            method = "POST"
            decorators = [csrf_exempt]
    """,
    "features/patient/steps/100_respond.py": """
        def respond(ctx, request, response):
            ctx.folder = request.data["folder"]
            response.status(202).json({})
    """,
    "features/patient/async_tasks/100_first.py": """
        def first(ctx):
            ctx.first = "first"
    """,
    "features/patient/async_tasks/200_second.py": """
        import os, time
        from pathlib import Path

        def second(ctx):
            Path(ctx.folder, f"second-{os.getpid()}").touch()
            while not Path(ctx.folder, "go").exists():
                time.sleep(0.01)
    """,
    "features/patient/async_tasks/300_third.py": """
        def third(ctx):
            return ctx.first
    """,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    run_id: UUID | None
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site that is running."""

    url: str
    queues: dict
    processes: Processes

    def post(self, path, **data):
        """POST JSON, as a browser or an app would."""
        body = json.dumps(data).encode()
        request = Request(self.url + path, data=body, headers={"Content-Type": "application/json"})
        try:
            answer = urlopen(request, timeout=PATIENCE)
        except HTTPError as error:
            answer = error
        with answer:
            run_id = answer.headers.get("Numflow-Run")
            return Answer(status=answer.status, run_id=run_id and UUID(run_id), body=answer.read())

    def redis(self, queue):
        where = self.queues[queue]
        return Redis(unix_socket_path=where["UNIX_SOCKET_PATH"], db=where["DB"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def queues(folder):
    """The queues of the site, with and without workers, of a live broker, a stopped one and one that never answers."""
    with EmbeddedBroker(folder) as broker, socket.create_server(("127.0.0.1", 0)) as hole:
        live = {"UNIX_SOCKET_PATH": str(broker.socket_path), "DB": 0}
        yield {
            "default": live,
            "json": live | {"DB": 1, "SERIALIZER": "json"},
            "quiet": live | {"DB": 2},
            "down": {"UNIX_SOCKET_PATH": str(folder / "nobody.sock"), "DB": 0},
            "hole": {"HOST": "127.0.0.1", "PORT": hole.getsockname()[1], "DB": 0},
        }


@pytest.fixture(scope="module")
def running(folder, queues, django_db_blocker):
    """The site with its database, its web server and its workers, all of which end with the tests of this module."""
    tree = Tree(folder)
    tree.write({"urls.py": URLS.format(package=tree.package)} | PATIENT)
    tree.write({f"features/buy_{queue}/feature.py": BUY.format(queue=queue) for queue in queues if queue != "default"})
    with django_db_blocker.unblock(), own_database(ALIAS, folder) as database:
        processes = Processes(
            folder,
            DJANGO_SETTINGS_MODULE="tests.e2e.settings",
            PYTHONPATH=os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
            E2E_PACKAGE=tree.package,
            E2E_DATABASE=database,
            E2E_QUEUES=json.dumps(queues),
        )
        try:
            processes.worker("default")
            processes.worker("json", "--serializer", "json")
            yield Site(url=processes.web(), queues=queues, processes=processes)
        finally:
            processes.end()


@pytest.fixture
def site(running):
    yield running
    print(running.processes.output())  # noqa: T201 - pytest shows it if the test has failed


def runs():
    return FeatureRun.objects.using(ALIAS)


def sales():
    return sorted(Sale.objects.using(ALIAS).values_list("item", flat=True))


def ended(run_id):
    """The run *run_id*, when it has ended."""
    return eventually(
        lambda: runs().filter(pk=run_id, finished_at__isnull=False).first(),
        timeout=PATIENCE,
        message=f"The run has not ended: {list(runs().filter(pk=run_id).values())}",
    )


def log(run):
    return [(e.name, e.state, e.result) for e in run.executions.order_by("id")]


@pytest.mark.parametrize("path", ["buy/", "json/"], ids=["default serializer", "JSON serializer"])
def test_an_order(site, path):
    """An order is answered with 201 and the id of its run, and the worker does its three tasks in order."""
    answer = site.post(path, item="책", quantity=2)

    run = ended(answer.run_id)
    assert (answer.status, answer.json["item"]) == (201, "책")
    assert Sale.objects.using(ALIAS).get(pk=answer.json["id"]).quantity == 2
    assert (run.state, run.reason, run.position, run.token) == (RunState.SUCCEEDED, "", 3, 1)
    assert log(run) == [
        ("mail", "succeeded", {"to": "buyer@example.com"}),
        ("notify", "succeeded", None),
        ("publish", "succeeded", {"mailed": "책 x 2", "notified": True}),
    ]
    assert [step["name"] for step in run.steps] == ["validate", "sell", "respond"]
    assert run.worker


def test_an_order_with_a_task_that_fails(site):
    """A18: a task that fails in the middle is on record; the others are run, and the run has failed."""
    answer = site.post("buy/", item="bad luck")

    run = ended(answer.run_id)
    assert answer.status == 201
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 3 tasks failed: notify")
    assert log(run) == [
        ("mail", "succeeded", {"to": "buyer@example.com"}),
        ("notify", "failed", None),
        ("publish", "succeeded", {"mailed": "bad luck x 1", "notified": False}),
    ]
    failed = run.executions.get(name="notify")
    assert (failed.error_type, failed.error_message) == ("ConnectionError", "the gateway is down, password=********")
    assert "200_notify.py" in failed.traceback


@pytest.mark.parametrize(
    ("item", "status", "reasons"),
    [
        ("boom", 500, ["RuntimeError: boom"]),
        ("silence", 500, ["MissingResponseError: Feature completed without sending a response."]),
        ("sold out", 409, []),
    ],
)
def test_an_order_that_is_rolled_back(site, item, status, reasons):
    """A12, A13, A14: nothing of a request that failed is committed, its tasks go nowhere, and an error leaves a row."""
    good = site.post("quiet/", item="book")
    sold, known = sales(), set(runs().values_list("pk", flat=True))
    with site.redis("quiet") as redis:
        jobs = set(redis.scan_iter())

        answer = site.post("quiet/", item=item)

        assert f"rq:job:numflow-{good.run_id.hex}-1".encode() in jobs
        assert set(redis.scan_iter()) == jobs
    assert answer.status == status
    assert sales() == sold
    left = runs().exclude(pk__in=known)
    assert [(run.state, run.path, run.status_code, run.position) for run in left] == [
        (RunState.ROLLED_BACK, "/quiet/", status, 0) for _ in reasons
    ]
    assert [run.reason.startswith(reason) for run, reason in zip(left, reasons, strict=True)] == [True for _ in reasons]


@pytest.mark.parametrize("broker", ["down", "hole"])
def test_an_order_while_redis_is_away(site, broker):
    """D5: with a Redis that refuses, or never answers, orders are answered as ever, and their runs stay pending."""
    answers = [site.post(f"{broker}/", item=f"{broker} {number}") for number in range(2)]

    assert [answer.status for answer in answers] == [201, 201]
    assert [runs().get(pk=answer.run_id).state for answer in answers] == [RunState.PENDING, RunState.PENDING]
    assert {f"{broker} 0", f"{broker} 1"} <= set(sales())


def second_tasks(folder):
    """The processes that have begun the second task of the feature "patient"."""
    return [int(path.name.removeprefix("second-")) for path in Path(folder).glob("second-*")]


def begun(folder):
    return eventually(lambda: second_tasks(folder), timeout=PATIENCE, message="The second task has not begun")


def test_the_client_does_not_wait_for_the_tasks(site, tmp_path):
    """A16: the answer arrives while a task cannot end yet; the tasks behind it wait."""
    answer = site.post("patient/", folder=str(tmp_path))
    begun(tmp_path)

    blocked = runs().get(pk=answer.run_id)
    assert answer.status == 202
    assert (blocked.state, log(blocked)) == (RunState.RUNNING, [("first", "succeeded", None)])

    (tmp_path / "go").touch()
    run = ended(answer.run_id)
    assert run.state == RunState.SUCCEEDED
    assert log(run)[2] == ("third", "succeeded", "first")


def test_a_work_horse_that_is_killed(site, tmp_path):
    """C13: a run whose work-horse was killed goes on at the task that it died in, and the try is on record as lost."""
    answer = site.post("patient/", folder=str(tmp_path))
    [horse] = begun(tmp_path)

    os.kill(horse, signal.SIGKILL)
    (tmp_path / "go").touch()

    run = ended(answer.run_id)
    assert (run.state, run.token) == (RunState.SUCCEEDED, 2)
    assert [(e.name, e.state, e.token) for e in run.executions.order_by("id")] == [
        ("first", "succeeded", 1),
        ("second", "lost", 1),
        ("second", "succeeded", 2),
        ("third", "succeeded", 2),
    ]
    assert len(second_tasks(tmp_path)) == 2


def test_eight_clients_and_four_workers(site):
    """Eight clients and four workers at one database: everybody is answered, all is done, and no database is locked."""
    for number in range(2, 5):
        site.processes.start(f"worker-default-{number}", "rqworker", "default")

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda number: site.post("buy/", item=f"load {number}"), range(80)))

    assert {answer.status for answer in answers} == {201}
    done = runs().filter(pk__in=[answer.run_id for answer in answers], state=RunState.SUCCEEDED)
    eventually(lambda: done.count() == 80, timeout=60, message="not all runs have succeeded")
    assert "database is locked" not in site.processes.output()
