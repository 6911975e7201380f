"""run_pending(): executes the runs of a test without Redis, worker or sleep."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.test import TestCase

from numflow_django import start_run
from numflow_django.exceptions import TaskError
from numflow_django.execution import runner
from numflow_django.models import FeatureRun
from numflow_django.testing import assert_run, run_pending
from numflow_django.testing.pending import _seconds_until
from tests.market.models import Sale

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail if anything connects to Redis or sleeps."""

    def refuse(*args, **kwargs):
        tried.append(args)
        raise ConnectionRefusedError

    tried = []
    monkeypatch.setattr("redis.connection.Connection._connect", refuse)
    monkeypatch.setattr(time, "sleep", refuse)
    yield
    assert not tried


def buy(client, **data):
    return client.post("/buy/", {"item": "tea"} | data, content_type="application/json")


def test_a_request_and_its_tasks(client):
    """C15: The tasks of a request run in a plain test's transaction, and the run is returned."""
    answer = buy(client)

    [run] = run_pending()

    assert str(run.pk) == answer["Numflow-Run"]
    assert (run.state, run.position, run.token) == ("succeeded", 3, 1)
    assert [(execution.name, execution.state) for execution in run.log] == [
        ("mail", "succeeded"),
        ("notify", "succeeded"),
        ("publish", "succeeded"),
    ]


def test_nothing_to_run():
    """Without runs, the list is empty."""
    assert run_pending() == []


def test_a_run_is_run_once(client):
    """The second call finds no run."""
    buy(client)
    run_pending()

    assert run_pending() == []


def test_runs_are_given_in_their_order(client):
    """The oldest run comes first."""
    ids = [buy(client)["Numflow-Run"] for _ in range(3)]

    assert [str(run.pk) for run in run_pending()] == ids


def test_a_failed_task_is_a_failed_run(client, caplog):
    """A task's error is logged and stored in the run, and not raised."""
    buy(client, item="bad luck")

    [run] = run_pending()

    assert run.state == "failed"
    assert run.reason == "1 of 3 tasks failed: notify"
    assert "task failed" in caplog.text


def test_raise_errors(client):
    """After all runs, the task's own error is raised, with its traceback and a note that names the task."""
    buy(client, item="bad luck")

    with pytest.raises(ConnectionError, match="the gateway is down") as caught:
        run_pending(raise_errors=True)

    assert caught.value.__notes__ == ["async task notify of market.buy, attempt 1"]
    assert caught.traceback[-1].path.name == "200_notify.py"
    assert FeatureRun.objects.get().state == "failed"


def test_raise_errors_of_what_is_no_exception(feature):
    """SystemExit would end the whole test run, so it is raised as a TaskError."""
    start_run(feature(only="sys.exit('enough')").label)

    with pytest.raises(TaskError, match=r"failed: 1 of 1 tasks failed: only") as caught:
        run_pending(raise_errors=True)

    assert isinstance(caught.value.__cause__, SystemExit)


def test_raise_errors_of_a_task_that_recovers(feature):
    """An error before a successful retry is not raised."""
    body = "if ctx.task.attempt == 1:\n    raise ValueError"
    start_run(feature(only=retried(body)).label)

    [run] = run_pending(waiting=True, raise_errors=True)

    assert run.state == "succeeded"


def retried(body, rules="max_attempts=3"):
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"from numflow_django import async_task\n\n\n@async_task({rules})\ndef {{name}}(ctx):\n{lines}"


# on_commit


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("alias", ["default", "other"])
def test_on_commit_callbacks_are_called_in_order(client, feature, journal, alias):
    """The user's own callbacks, of every database, are called once each, before the tasks."""
    run = start_run(feature(only="lines.append('task')").label)
    for number in (1, 2):
        transaction.on_commit(lambda number=number: journal().append(number), using=alias)

    run_pending()
    run_pending()

    assert journal() == [1, 2, "task"]
    assert_run(run)


def test_a_callback_sees_no_transaction():
    """As after a COMMIT, a callback that it registers is called at once, and its own blocks are outermost."""
    seen = []

    def callback():
        seen.append(connection.in_atomic_block)
        transaction.on_commit(lambda: seen.append("at once"))
        with transaction.atomic(durable=True):
            seen.append("durable")

    transaction.on_commit(callback)
    run_pending()

    assert seen == [False, "at once", "durable"]


def test_a_callback_of_a_block_that_was_rolled_back():
    """The callback of a rolled-back block is not called."""
    called = []
    with transaction.atomic():
        transaction.on_commit(lambda: called.append(1))
        transaction.set_rollback(True)

    run_pending()

    assert called == []


def test_a_callback_that_raises():
    """A callback's error is raised, as by COMMIT; the callbacks behind it are called the next time."""
    called = []
    transaction.on_commit(lambda: 1 / 0)
    transaction.on_commit(lambda: called.append("next"))

    with pytest.raises(ZeroDivisionError):
        run_pending()
    assert called == []

    run_pending()
    assert called == ["next"]


def test_a_robust_callback_that_raises(caplog):
    """A robust callback's error is logged, and the others are called."""
    called = []
    transaction.on_commit(lambda: 1 / 0, robust=True)
    transaction.on_commit(lambda: called.append("next"))

    run_pending()

    assert called == ["next"]
    assert "ZeroDivisionError" in caplog.text


def test_in_a_block_of_the_test():
    """In an open block of the test, the error says that its changes are not committed, and what to do."""
    with (
        transaction.atomic(),
        pytest.raises(RuntimeError, match=r"an atomic\(\) block is open on 'default'.*after the block"),
    ):
        run_pending()


class SharedData(TestCase):
    """The rows and callbacks of setUpTestData belong to all tests of a class."""

    called: list[str]

    @classmethod
    def setUpTestData(cls):
        cls.called = []
        transaction.on_commit(lambda: cls.called.append("shared"))
        cls.run_id = start_run("market.buy", {"sale": None, "item": "tea"}).pk

    def check(self):
        [run] = run_pending()

        assert run.pk == self.run_id
        assert self.called == []

    def test_one(self):
        """The run is run, and the callback of setUpTestData is not called in this test."""
        self.check()

    def test_another(self):
        """The same holds in a second test, in any order."""
        self.check()


# Runs that start runs, and runs that wait


def test_tasks_that_start_runs(feature):
    """Runs that tasks start are run too, until none is due."""
    feature("second", only="Sale.objects.create(item='second')")
    label = feature("first", only="pass").label.replace("first", "second")
    first = feature("first", only=f"from numflow_django import start_run\nstart_run({label!r})")

    runs = run_pending_after(first)

    assert [run.feature for run in runs] == [first.label, label]
    assert Sale.objects.get().item == "second"


def run_pending_after(feature, **options):
    start_run(feature.label, **options)
    return run_pending()


def test_a_run_that_starts_itself(feature):
    """A run that starts itself without end is an error that names it."""
    label = feature(only="pass").label
    start_run(feature(only=f"from numflow_django import start_run\nstart_run({label!r})").label)

    with pytest.raises(RuntimeError, match=rf"after 5 runs, more are due, such as {label}"):
        run_pending(limit=5)


def test_a_retry_waits(feature):
    """A retry waits, unless the test skips all waits; then the order is kept."""
    label = feature(first=retried("if ctx.task.attempt < 3:\n    raise ValueError"), second="pass").label
    start_run(label)

    [run] = run_pending()
    assert (run.state, run.position) == ("waiting", 0)
    assert run_pending() == []

    [run] = run_pending(waiting=True)
    assert_run(run, tasks=["first", "second"], attempts={"first": 3, "second": 1})


def test_a_retry_without_a_wait(feature):
    """A retry without a wait is due at once."""
    body = retried("if ctx.task.attempt < 3:\n    raise ValueError", "max_attempts=3, delay=0")

    [run] = run_pending_after(feature(only=body))

    assert_run(run, attempts={"only": 3})


def test_a_start_that_is_to_come(feature):
    """A run that starts tomorrow waits, unless the test skips all waits."""
    assert run_pending_after(feature(only="pass"), start_after=timedelta(days=1)) == []

    [run] = run_pending(waiting=True)

    assert_run(run)


def test_a_task_that_starts_later(feature):
    """The start time of a first task and that of a later task are treated alike."""
    later = retried("pass", "start_after=3600")
    start_run(feature(first=later, second=later, third="pass").label)

    assert run_pending() == []
    [run] = run_pending(waiting=True)

    assert_run(run, tasks=["first", "second", "third"])


def test_waiting_runs_are_taken_by_their_start_time(feature, journal):
    """The shortest wait is skipped first, and a due run comes before all waiting runs."""
    label = feature(only="lines.append(ctx.name)").label
    for name, wait in {"tomorrow": 86_400, "soon": 60, "now": 0}.items():
        start_run(label, {"name": name}, start_after=wait)

    run_pending(waiting=True)

    assert journal() == ["now", "soon", "tomorrow"]


# The limit of the skipped waits

RETRIES = "max_attempts=9, delay=10, factor=2, jitter=0"
FAIL = "from ...journal import lines\nlines.append(ctx.task.attempt)\nraise ValueError"


@pytest.mark.parametrize(
    ("until", "attempts"),
    [(0, 1), (5, 1), (10, 2), (25, 2), (30, 3), (timedelta(minutes=1), 3), (timedelta(seconds=70), 4), (3600, 9)],
    ids=str,
)
def test_the_waits_of_a_run_add_up(feature, journal, until, attempts):
    """Retries after 10, 20, 40, ... s: only those that are due within the time are run, though no time passes."""
    start_run(feature(only=retried(FAIL, RETRIES)).label)

    run_pending(until=until)

    assert len(journal()) == attempts


def test_a_run_beyond_the_limit_stays_as_it_is(feature):
    """A test of a retry does not run a reminder that is due tomorrow, and run_pending() does not return its run."""
    shop = feature(only=retried("if ctx.task.attempt < 2:\n    raise ValueError"))
    tomorrow, now = start_run(shop.label, start_after=timedelta(days=1)), start_run(shop.label)

    runs = run_pending(until=timedelta(minutes=1))

    assert [run.pk for run in runs] == [now.pk]
    assert_run(now, attempts={"only": 2})
    assert_run(tomorrow, state="waiting")


def test_until_a_datetime(feature):
    """until may be an aware datetime, in any time zone."""
    label = feature(only="pass").label
    soon, late = (start_run(label, start_after=timedelta(hours=hours)) for hours in (1, 3))

    run_pending(until=datetime.now(ZoneInfo("America/New_York")) + timedelta(hours=2))

    assert_run(soon)
    assert_run(late, state="waiting")


@pytest.mark.parametrize(("until", "state"), [(95, "waiting"), (100, "succeeded")])
def test_a_run_that_a_task_starts_begins_where_its_parent_is(feature, until, state):
    """A task that has waited for 60 s starts a run with start_after=40: that run is due after 100 s."""
    child = feature("child", only="pass").label
    body = f"from numflow_django import start_run\nstart_run({child!r}, start_after=40)"
    start_run(feature("parent", only=body).label, start_after=60)

    run_pending(until=until)

    assert_run(FeatureRun.objects.get(feature=child), state=state)


@pytest.mark.parametrize(("until", "attempts"), [(65, 1), (70, 2)])
def test_a_run_that_a_task_starts_at_once_waits_from_there(feature, until, attempts):
    """The first wait of a run that a task has started begins at the time of that task, too."""
    child = feature("child", only=retried("if ctx.task.attempt < 2:\n    raise ValueError", RETRIES)).label
    body = f"from numflow_django import start_run\nstart_run({child!r})"
    start_run(feature("parent", only=body).label, start_after=60)

    run_pending(until=until)

    assert FeatureRun.objects.get(feature=child).log.count() == attempts


def test_a_task_that_starts_later_adds_up(feature):
    """Waits between tasks add up: of three tasks with an hour before each, two hours run two."""
    later = retried("pass", "start_after=3600")
    run = start_run(feature(first=later, second=later, third=later).label)

    run_pending(until=timedelta(hours=2))

    assert_run(run, state="waiting", tasks=["first", "second"])


@pytest.mark.parametrize("limit", [{"waiting": True}, {"until": timedelta(days=1)}], ids=str)
def test_waits_end_in_their_order(feature, journal, limit):
    """
    A run that starts in 25 s comes before a third attempt in 30 s, although that attempt's last wait is only 20 s.
    """
    retry = FAIL.replace("raise", "if ctx.task.attempt < 4:\n    raise")
    start_run(feature("retried", only=retried(retry, RETRIES)).label)
    for seconds in (5, 25):
        start_run(feature(f"later{seconds}", only=f"lines.append('after {seconds} s')").label, start_after=seconds)

    run_pending(**limit)

    assert journal() == [1, "after 5 s", 2, "after 25 s", 3, 4]


def test_each_call_counts_from_its_beginning(feature, journal):
    """Each call counts from its own start and does not remember the waits that an earlier call skipped."""
    start_run(feature(only=retried(FAIL, RETRIES)).label)

    attempts = []
    for _ in range(3):
        run_pending(until=20)
        attempts.append(len(journal()))

    assert attempts == [2, 3, 3]


PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": -1}, r"run_pending\(until=-1\): give zero or more seconds, at most ten years"),
        ({"until": timedelta(seconds=-1)}, r"run_pending\(until=datetime.timedelta\(.*\)\): give zero or more seconds"),
        ({"until": "1m"}, r"run_pending\(until='1m'\): give zero or more seconds"),
        ({"until": True}, r"run_pending\(until=True\): give zero or more seconds"),
        ({"until": float("inf")}, r"run_pending\(until=inf\): give zero or more seconds"),
        ({"until": PAST}, r"run_pending\(until=datetime.datetime\(2020, .*\)\): this time has passed; pass one in the"),
        ({"until": PAST.replace(tzinfo=None)}, r"run_pending\(until=.*\): pass an aware datetime, with its time zone"),
        ({"until": 60, "waiting": True}, r"run_pending\(waiting=True, until=...\): pass only one of them"),
    ],
    ids=str,
)
def test_a_limit_that_makes_no_sense(options, message):
    """The error says what was passed and what is allowed."""
    with pytest.raises(ValueError, match=message):
        run_pending(**options)


def test_until_a_datetime_without_time_zones(feature, settings):
    """With ``USE_TZ = False``, until may be naive or aware."""
    settings.USE_TZ = False

    assert _seconds_until(datetime.now() + timedelta(hours=1)) == pytest.approx(3600, abs=60)  # noqa: DTZ005
    assert _seconds_until(datetime.now(UTC) + timedelta(hours=1)) == pytest.approx(3600, abs=60)


def test_a_task_that_the_code_does_not_know(feature):
    """A run waits for the code of its task, and waiting=True does not help; its reason says so."""
    run = start_run(feature(gone="pass").label)
    feature(other="pass")

    assert [row.pk for row in run_pending(waiting=True)] == [run.pk]

    run.reread()
    assert run.state == "waiting"
    assert run.reason.startswith("unknown task gone since")


# Databases


@pytest.mark.django_db(databases=["default", "other"])
def test_another_database(feature):
    """The runs of all databases that the test may use are run."""
    one, other = (start_run(feature(alias, using=alias, only="pass").label) for alias in ("default", "other"))

    assert {run.pk for run in run_pending()} == {one.pk, other.pk}


@pytest.mark.django_db(databases=["other"])
def test_only_another_database(feature):
    """It works in a test that may not use the default database."""
    run = start_run(feature("shop", using="other", only="pass").label)

    assert [row.pk for row in run_pending()] == [run.pk]


def test_a_database_that_the_test_may_not_use(client, feature):
    """A database that the test may not use has no runs of the test, and is skipped."""
    feature("shop", using="other", only="pass")
    buy(client)

    assert [run.state for run in run_pending()] == ["succeeded"]


# The worker's parts


def test_no_lease_is_renewed(client, monkeypatch):
    """No thread renews leases: on SQLite it would wait for the test's own lock, and elsewhere it would see no run."""
    monkeypatch.setattr(runner, "Lease", None)
    monkeypatch.setattr("threading.Thread.start", None)
    buy(client)

    assert [run.state for run in run_pending()] == ["succeeded"]


def test_queries_are_those_of_a_worker(client, django_assert_max_num_queries):
    """assertNumQueries counts only the queries of a worker, not the savepoints of run_pending()."""
    buy(client)

    with django_assert_max_num_queries(100) as captured:
        run_pending()

    assert not [query["sql"] for query in captured if "SAVEPOINT" in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_around_the_test(feature):
    """In a TransactionTestCase, the runs are committed and run as well."""
    from numflow_django.testing import without_redis

    with without_redis():
        start_run(feature(only="Sale.objects.create(item='tea')").label)
        assert FeatureRun.objects.get().state == "queued"

    assert [run.state for run in run_pending()] == ["succeeded"]
    assert Sale.objects.get().item == "tea"
