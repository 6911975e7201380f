"""Real workers as supervisors start them: what they run, what they refuse, and how they end."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from rq import Callback, Queue, Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer

from numflow_django.broker.dispatch import enqueue
from numflow_django.broker.job import job_id
from numflow_django.db.timestamps import Now
from numflow_django.embedded import EmbeddedBroker
from numflow_django.models import FeatureRun, RunState
from tests.e2e.processes import PATIENCE, Processes, own_database
from tests.support.trees import Tree
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

ALIAS = "workers"
NAMES = ["first", "second", "third"]

# The second task does what the test wants of it
FILES = {
    "urls.py": "urlpatterns = []\n",
    "features/work/feature.py": """
        from numflow_django import FeatureView

        class Work(FeatureView):
            path = "work/"
    """,
    "features/work/steps/100_respond.py": """
        def respond(ctx, request, response):
            response.json({})
    """,
    "features/work/async_tasks/100_first.py": """
        def first(ctx):
            pass
    """,
    "features/work/async_tasks/200_second.py": """
        import os, time
        from pathlib import Path
        from numflow_django.execution.stop import Stop

        def second(ctx):
            folder = Path(ctx.folder)
            (folder / f"second-{os.getpid()}").touch()
            if ctx.how == "print":
                print("printed by a task")
            if ctx.how == "exit" and ctx.task.attempt == 1:
                os._exit(0)
            while ctx.how == "wait" and not (folder / "go").exists():
                time.sleep(0.01)
                if Stop.requested:
                    (folder / "stopping").touch()
    """,
    "features/work/async_tasks/300_third.py": """
        def third(ctx):
            return ctx.task.attempt
    """,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def queues(folder):
    with EmbeddedBroker(folder) as broker:
        live = {"UNIX_SOCKET_PATH": str(broker.socket_path)}
        yield {"default": live | {"DB": 0}, "json": live | {"DB": 1, "SERIALIZER": "json"}}


@pytest.fixture(scope="module")
def environment(folder, queues, django_db_blocker):
    """A site with a database and a broker, and without workers."""
    tree = Tree(folder)
    tree.write(FILES)
    with django_db_blocker.unblock(), own_database(ALIAS, folder) as database:
        yield {
            "DJANGO_SETTINGS_MODULE": "tests.e2e.settings",
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "E2E_PACKAGE": tree.package,
            "E2E_DATABASE": database,
            "E2E_QUEUES": json.dumps(queues),
            "E2E_NUMFLOW": json.dumps({"RELAY_SECONDS": 1}),
        }


@pytest.fixture
def processes(tmp_path, environment, queues, settings):
    """The processes of one test; this process can enqueue runs for them."""
    settings.RQ_QUEUES = queues
    for queue in queues:
        with redis(queue, queues) as connection:
            # Redis gives the next job to a killed worker until it has seen that the connection is closed
            eventually(
                lambda: connection.info("clients")["blocked_clients"] == 0, message="A killed worker still waits"
            )
            connection.flushdb()
    started = Processes(tmp_path, **environment)
    yield started
    started.end()
    FeatureRun.objects.using(ALIAS).all().delete()
    print(started.output())  # noqa: T201 - pytest shows it if the test has failed


def redis(queue, queues):
    return Redis(unix_socket_path=queues[queue]["UNIX_SOCKET_PATH"], db=queues[queue]["DB"])


def commit(processes, *, how="go", queue="default", state=RunState.QUEUED):
    """A run that was committed; it has not been enqueued."""
    return FeatureRun.objects.using(ALIAS).create(
        feature=f"{processes.environment['E2E_PACKAGE']}.features.work",
        queue=queue,
        state=state,
        dispatch_no=1,
        queued_at=Now() if state == RunState.QUEUED else None,
        task_names=NAMES,
        context=json.dumps({"how": how, "folder": str(processes.folder)}),
    )


def start(processes, **how):
    """A run that has been enqueued."""
    run = commit(processes, **how)
    assert enqueue(run, timeout=60)
    return run


def ended(run):
    """The run, when it has ended: long before its lease would."""

    def look():
        run.refresh_from_db()
        return run.finished_at

    eventually(look, timeout=PATIENCE, message=f"The run has not ended: {run.state} {run.reason}")
    return run


def log(run):
    return [(e.name, e.state) for e in run.executions.order_by("id")]


def horses(processes, number=1):
    """The processes in which the second task has begun, when there are so many."""

    def look():
        found = [int(path.name.removeprefix("second-")) for path in processes.folder.glob("second-*")]
        return found if len(found) >= number else None

    return eventually(look, timeout=PATIENCE, message="The second task has not begun")


def go(processes):
    (processes.folder / "go").touch()


SUCCESS = [(name, "succeeded") for name in NAMES]


# What a worker runs


@pytest.mark.parametrize("queue", ["default", "json"])
def test_a_worker_takes_the_serializer_of_its_queue(processes, queue):
    """``rqworker`` without --serializer serves a queue of either serializer."""
    processes.worker(queue)

    run = ended(start(processes, queue=queue))

    assert (run.state, run.token, log(run)) == (RunState.SUCCEEDED, 1, SUCCESS)


class Bomb:
    """Something whose pickle leaves a trace when it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.system, (f"touch {self.trace}",))


FOREIGN = {
    "json": ("json", lambda queue, trace: queue.enqueue("os.system", f"touch {trace}")),
    "pickle": ("default", lambda queue, trace: queue.enqueue("os.system", f"touch {trace}")),
    "bomb": ("default", lambda queue, trace: queue.enqueue("os.system", Bomb(trace))),
    "callback": (
        "default",
        lambda queue, trace: queue.enqueue(
            "os.system", f"touch {trace}", on_failure=Callback(os.system), meta={"bomb": Bomb(trace)}
        ),
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_job_is_refused(processes, queues, kind, tmp_path):
    """A job that is no run is refused and logged, and nothing of it is run or unpickled; the next job runs."""
    queue, enqueue = FOREIGN[kind]
    serializer = JSONSerializer if queue == "json" else DefaultSerializer
    trace = tmp_path / "trace"
    with redis(queue, queues) as connection:
        job = enqueue(Queue(queue, connection=connection, serializer=serializer), trace)
        processes.worker(queue)

        run = ended(start(processes, queue=queue))

        assert run.state == RunState.SUCCEEDED
        assert not trace.exists()
        assert FailedJobRegistry(queue, connection=connection).get_job_ids() == [job.id]
    assert (
        f"job refused queue={queue}: job '{job.id}' is not a run of numflow_django; this worker runs nothing else"
        in processes.output()
    )


def test_a_foreign_job_with_the_id_of_a_run(processes, queues, tmp_path):
    """A foreign job with the id of a run only makes the worker look for that run, whatever its data contain."""
    trace = tmp_path / "trace"
    name = job_id(uuid4(), 1)
    bomb = pickle.dumps(Bomb(trace))
    with redis("default", queues) as connection:
        Queue("default", connection=connection).enqueue("os.system", f"touch {trace}", job_id=name)
        connection.hset(f"rq:job:{name}", mapping={"meta": bomb, "data": bomb, "failure_callback_name": "os.system"})
        processes.worker("default")

        run = ended(start(processes))

        assert run.state == RunState.SUCCEEDED
        assert not trace.exists()
        assert not connection.exists(f"rq:job:{name}")


# How it ends


@pytest.mark.parametrize("queue", ["default", "json"])
def test_a_work_horse_that_is_killed(processes, queue):
    """C13: the run of a killed work-horse is resumed at its task, long before its lease ends."""
    processes.worker(queue)
    run = start(processes, how="wait", queue=queue)
    [horse] = horses(processes)

    os.kill(horse, signal.SIGKILL)
    horses(processes, 2)
    go(processes)

    ended(run)
    assert (run.state, run.token) == (RunState.SUCCEEDED, 2)
    assert log(run) == [("first", "succeeded"), ("second", "lost"), *SUCCESS[1:]]
    lost = run.executions.get(state="lost")
    assert lost.error_message == "its work-horse ended before the run did (wait status 9)"


def test_a_task_that_ends_its_process(processes):
    """C13: a task that calls os._exit(0), which RQ takes for a success, is lost and tried again."""
    processes.worker("default")

    run = ended(start(processes, how="exit"))

    assert (run.state, run.token) == (RunState.SUCCEEDED, 2)
    assert log(run) == [("first", "succeeded"), ("second", "lost"), *SUCCESS[1:]]


def test_a_worker_that_is_stopped_releases_its_run(processes):
    """C13: on SIGTERM the task that is running ends, the run is released, and the next worker continues it."""
    processes.worker("default")
    run = start(processes, how="wait")
    horses(processes)
    [worker] = processes.running

    worker.send_signal(signal.SIGTERM)
    eventually((processes.folder / "stopping").exists, timeout=PATIENCE, message="The work-horse got no signal")
    go(processes)
    code = worker.wait(PATIENCE)
    run.refresh_from_db()
    released = run.state, run.position, run.dispatch_no
    processes.start("next-worker", "rqworker", "default")

    ended(run)
    assert code == 0
    assert released == (RunState.QUEUED, 2, 2)
    assert (run.state, run.token, log(run)) == (RunState.SUCCEEDED, 2, SUCCESS)
    assert len({e.worker for e in run.executions.all()}) == 2


def test_two_workers_of_a_pool(processes):
    """B6: two workers of ``rqworker-pool`` work on two runs at once, and no task is done twice."""
    processes.start("pool", "rqworker-pool", "default", "--num-workers", "2")
    together = [start(processes, how="wait") for _ in range(2)]
    horses(processes, 2)
    go(processes)

    runs = [ended(run) for run in [*together, *(start(processes) for _ in range(6))]]

    assert [(run.state, run.token, log(run)) for run in runs] == [(RunState.SUCCEEDED, 1, SUCCESS)] * 8
    assert len({run.worker for run in together}) == 2


# One work-horse, many runs


def test_one_work_horse_serves_many_runs(processes, queues):
    """A backlog is drained by one work-horse, in order, and Redis is empty afterwards."""
    runs = [start(processes) for _ in range(40)]
    processes.worker("default")

    for run in runs:
        ended(run)

    assert [(run.state, run.token, log(run)) for run in runs] == [(RunState.SUCCEEDED, 1, SUCCESS)] * 40
    assert sorted(runs, key=lambda run: run.started_at) == runs
    assert len({path.name for path in processes.folder.glob("second-*")}) == 1
    with redis("default", queues) as connection:
        eventually(lambda: not list(connection.scan_iter("rq:job:*")), message="A job was left in Redis")


def test_a_work_horse_that_dies_at_rest_is_replaced(processes):
    """A work-horse that is killed while it waits costs no run anything."""
    processes.worker("default")
    ended(start(processes))
    [horse] = horses(processes)

    os.kill(horse, signal.SIGKILL)
    run = ended(start(processes))

    assert (run.state, run.token, log(run)) == (RunState.SUCCEEDED, 1, SUCCESS)


def test_a_killed_work_horse_marks_only_the_run_it_was_at(processes):
    """Of the runs that a killed work-horse had claimed, only the one that had begun has a lost execution."""
    quick, slow = [start(processes) for _ in range(12)], start(processes, how="wait")
    behind = [start(processes) for _ in range(60)]
    processes.worker("default")
    horses(processes)
    eventually(lambda: FeatureRun.objects.using(ALIAS).filter(pk=slow.pk, state="running").exists(), timeout=PATIENCE)
    slow.refresh_from_db()
    eventually(lambda: slow.executions.filter(name="first").exists(), timeout=PATIENCE)
    [horse] = horses(processes)

    os.kill(horse, signal.SIGKILL)
    horses(processes, 2)
    go(processes)

    ended(slow)
    assert (slow.state, log(slow)) == (RunState.SUCCEEDED, [SUCCESS[0], ("second", "lost"), *SUCCESS[1:]])
    for run in [*quick, *behind]:
        assert (ended(run).state, log(run)) == (RunState.SUCCEEDED, SUCCESS)


def test_a_long_run_is_shown_by_rq(processes, queues):
    """A long job is in RQ's registry of started jobs while it runs, and its worker is shown as busy."""
    processes.worker("default")
    run = start(processes, how="wait")
    with redis("default", queues) as connection:
        registry = StartedJobRegistry("default", connection=connection)
        eventually(registry.get_job_ids, timeout=PATIENCE, message="The job is not shown")
        shown = registry.get_job_ids()
        [worker] = Worker.all(connection=connection)
        state = worker.get_state()

        go(processes)
        ended(run)

        eventually(lambda: not registry.get_job_ids(), timeout=PATIENCE, message="The job is still shown")
        eventually(lambda: not list(connection.scan_iter("rq:job:*")), message="A job was left in Redis")
    assert (shown, state) == ([job_id(run.pk, 1)], "busy")


def test_a_burst(processes):
    """``rqworker --burst`` drains its queue and ends; ``--max-jobs`` is counted."""
    runs = [start(processes) for _ in range(5)]
    processes.worker("default", "--max-jobs", "2")
    [counted] = processes.running
    assert counted.wait(PATIENCE) == 0
    after_two = FeatureRun.objects.using(ALIAS).filter(state=RunState.SUCCEEDED).count()

    processes.start("burst", "rqworker", "default", "--burst")

    assert processes.running[-1].wait(PATIENCE) == 0
    assert after_two == 2
    assert {ended(run).state for run in runs} == {RunState.SUCCEEDED}


@pytest.mark.parametrize("options", [(), ("--worker-class", "rq.worker.Worker")], ids=["ours", "RQ's"])
def test_what_a_task_prints_is_in_the_log(processes, options):
    """A task's print() is in the worker's log file when its run has ended, and once."""
    processes.environment["PYTHONUNBUFFERED"] = ""
    processes.worker("default", *options)

    runs = [start(processes, how="print") for _ in range(2)]

    for run in runs:
        ended(run)
    assert eventually(lambda: processes.output().count("printed by a task") == 2, timeout=PATIENCE)


def test_a_worker_registers_again_after_a_flush(processes, queues):
    """A worker whose Redis has lost its data is soon listed again, as at its start."""
    processes.worker("default")
    with redis("default", queues) as connection:
        default = Queue("default", connection=connection)
        [before] = eventually(lambda: Worker.all(queue=default), timeout=PATIENCE, message="No worker has started")
        connection.flushdb()

        [after] = eventually(lambda: Worker.all(queue=default), timeout=PATIENCE, message="The worker is not listed")

    assert (after.name, after.pid, after.birth_date) == (before.name, before.pid, before.birth_date)


# The relay


def test_an_idle_worker_runs_the_relay(processes):
    """D5: an idle worker finds a run that was not enqueued."""
    processes.worker("default")
    ended(start(processes))

    unknown, pending = commit(processes), commit(processes, state=RunState.PENDING)

    assert [ended(run).state for run in (unknown, pending)] == [RunState.SUCCEEDED] * 2
    assert (unknown.dispatch_no, pending.dispatch_no) == (2, 2)


def test_the_relay_once(processes, queues):
    """``numflow_relay --once`` dispatches what was not dispatched, prints it, and ends."""
    commit(processes)
    start(processes)
    commit(processes, state=RunState.PENDING)

    done = subprocess.run(
        [sys.executable, "-m", "django", "numflow_relay", "--once"],
        cwd=Path(__file__).parents[2],
        env=processes.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "recovered 0, lost in Redis 1, dispatched 2\n"
    with redis("default", queues) as connection:
        assert connection.llen("rq:queue:default") == 3


def test_the_relay_as_a_process(processes):
    """``numflow_relay`` sweeps until SIGTERM, and then ends at once with code 0."""
    pending = commit(processes, state=RunState.PENDING)
    processes.start("relay", "numflow_relay")
    [relay] = processes.running

    def is_queued(run):
        run.refresh_from_db()
        return run.state == RunState.QUEUED

    eventually(lambda: is_queued(pending), timeout=PATIENCE, message="The first sweep did not find the run")
    later = commit(processes, state=RunState.PENDING)
    eventually(lambda: is_queued(later), timeout=PATIENCE, message="The relay has not swept again")
    relay.send_signal(signal.SIGTERM)

    assert relay.wait(PATIENCE) == 0
