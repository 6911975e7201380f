"""Faults in users' tests: a task fails, the worker dies, Redis is down."""

from smtplib import SMTPException

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import TestCase, TransactionTestCase, override_settings

from numflow_django import start_run
from numflow_django.broker import dispatch
from numflow_django.broker.pauses import is_paused, note_failure
from numflow_django.broker.push import push
from numflow_django.discovery.registry import registry
from numflow_django.exceptions import UnknownFeature, UnknownTask
from numflow_django.models import FeatureRun
from numflow_django.testing import (
    assert_run,
    fail_task,
    redis_down,
    run_pending,
    without_redis,
    worker_dies_after,
    worker_dies_in,
)
from tests.market.models import Sale

pytestmark = pytest.mark.django_db

RETRIED = """\
from numflow_django import async_task
from tests.market.models import Sale


@async_task(max_attempts=3)
def {name}(ctx):
    Sale.objects.create(item="worked")
"""
ATOMIC = RETRIED.replace("max_attempts=3", "atomic=True")
COROUTINE = RETRIED.replace("def {name}", "async def {name}").replace(
    "Sale.objects.create", "await Sale.objects.acreate"
)


def begin(feature, **tasks):
    """Start a run of these tasks."""
    return start_run(feature(**tasks).label)


def buy(client):
    return client.post("/buy/", {"item": "tea"}, content_type="application/json")


# A task fails


@pytest.mark.parametrize("source", [RETRIED, COROUTINE], ids=["def", "async def"])
def test_a_task_that_fails_twice(feature, source):
    """D9: A task fails n times, and then its retry does the work."""
    run = begin(feature, mail=source, last="pass")

    with fail_task(run.feature, "mail", times=2, error=SMTPException("down")):
        run_pending(waiting=True)

    assert_run(run, tasks=["mail", "last"], attempts={"mail": 3})
    assert [execution.error_message for execution in run.log][:2] == ["down", "down"]
    assert Sale.objects.count() == 1


def test_a_task_that_fails_for_good(feature):
    """With times=None, every execution fails. The error may be a class, or left out."""
    run = begin(feature, mail=RETRIED, last="pass")

    with fail_task(run.feature, "mail", times=None):
        run_pending(waiting=True)

    assert_run(run, state="failed", tasks={"mail": "failed", "last": "succeeded"}, attempts={"mail": 3})
    assert run.log.first().error_message == f"by fail_task({run.feature!r}, 'mail')"
    assert run.log.first().error_type == "numflow_django.testing.faults.InjectedFault"


def test_retry_on_is_asked(feature):
    """The fault is an ordinary error: if retry_on does not include it, the task fails at once."""
    run = begin(feature, mail=RETRIED.replace("max_attempts=3", "max_attempts=3, retry_on=OSError"))

    with fail_task(run.feature, "mail", error=ValueError("no")):
        run_pending(waiting=True)

    assert_run(run, state="failed", attempts={"mail": 1})


def test_a_fault_ends_with_its_block(feature):
    """A fault ends with its block, also after an error; nested faults end one by one."""
    run = begin(feature, mail="pass", notify="pass")
    before = registry.find(run.feature)

    with pytest.raises(ZeroDivisionError), fail_task(run.feature, "mail"), fail_task(run.feature, "notify"):
        _ = 1 / 0

    assert registry.find(run.feature) is before
    run_pending()
    assert_run(run)


def test_faults_nest(feature):
    """Two faults, of two tasks or of one, both happen."""
    run = begin(feature, mail=RETRIED, notify=RETRIED)

    with (
        fail_task(run.feature, "mail", error=ValueError("first")),
        fail_task(run.feature, "notify"),
        fail_task(run.feature, "mail", error=ValueError("second")),
    ):
        run_pending(waiting=True)

    assert_run(run, attempts={"mail": 3, "notify": 2})


class Decorated(TestCase):
    """Uses faults as decorators of tests."""

    @fail_task("market.buy", "mail")
    def test_a_test(self):
        """The fault happens during the test."""
        run = start_run("market.buy", {"item": "tea"})

        run_pending()

        assert_run(run, state="failed", tasks={"mail": "failed"})

    @fail_task("market.buy", "mail")
    async def test_a_coroutine(self):
        """The fault happens during an async test too."""
        run = await sync_to_async(start_run)("market.buy", {"item": "tea"})
        await sync_to_async(run_pending)()

        await sync_to_async(assert_run)(run, state="failed", tasks={"mail": "failed"})


def test_a_fault_that_never_happens(feature):
    """A fault that never happens fails the test, and the message says what is missing."""
    label = feature(mail="pass").label

    with (
        pytest.raises(AssertionError, match=r"fail_task\('.*', 'mail'\) happened never.*call run_pending\(\) in the"),
        fail_task(label, "mail"),
    ):
        pass


def test_a_fault_that_happens_too_seldom(feature):
    """A fault that is requested twice fails the test if the task has only one attempt."""
    run = begin(feature, mail="pass")

    with (
        pytest.raises(AssertionError, match=r"happened 1 of 2 times.*waiting=True"),
        fail_task(run.feature, "mail", times=2),
    ):
        run_pending()


@pytest.mark.parametrize("fault", [fail_task, worker_dies_in, worker_dies_after])
def test_a_feature_that_does_not_exist(fault):
    """The error suggests the right label."""
    with (
        pytest.raises(UnknownFeature, match=r"there is no feature 'market.bye'; did you mean 'market.buy'\?"),
        fault("market.bye", "mail"),
    ):
        pass


@pytest.mark.parametrize("fault", [fail_task, worker_dies_in, worker_dies_after])
def test_a_task_that_does_not_exist(fault):
    """The error suggests the right task, or lists all tasks."""
    with pytest.raises(UnknownTask, match=r"market.buy has no async task 'mial'; did you mean 'mail'\?"):
        fault("market.buy", "mial").enable()
    with pytest.raises(UnknownTask, match=r"its async tasks are: mail, notify, publish"):
        fault("market.buy", "xyz").enable()


def test_times():
    """times must be at least 1."""
    with pytest.raises(ValueError, match=r"fail_task\(times=0\): pass at least 1, or None for every time"):
        fail_task("market.buy", "mail", times=0)


# The worker dies


@pytest.mark.parametrize("source", [RETRIED, COROUTINE], ids=["def", "async def"])
def test_a_worker_that_dies_after_a_task(feature, source):
    """
    D9: The worker dies after a task: the execution is lost, the run resumes at that task, and its work is done twice.
    """
    run = begin(feature, mail=source, last="pass")

    with worker_dies_after(run.feature, "mail"):
        run_pending()

    assert_run(run, tasks=["mail", "last"], attempts={"mail": 2, "last": 1})
    assert [execution.state for execution in run.log] == ["lost", "succeeded", "succeeded"]
    assert "its worker died by worker_dies_after" in run.log.first().error_message
    assert Sale.objects.count() == 2


def test_a_worker_that_dies_after_an_atomic_task(feature):
    """The work of an atomic task is rolled back with its missing checkpoint, and is done once."""
    run = begin(feature, count=ATOMIC)

    with worker_dies_after(run.feature, "count"):
        run_pending()

    assert_run(run, attempts={"count": 2})
    assert Sale.objects.count() == 1


def test_a_worker_that_dies_in_a_task(feature):
    """If the worker dies at the start of a task, none of its work is done."""
    run = begin(feature, mail=RETRIED)

    with worker_dies_in(run.feature, "mail"):
        run_pending()

    assert_run(run, attempts={"mail": 2})
    assert Sale.objects.count() == 1


def test_a_task_that_kills_each_worker(feature, settings):
    """After TASK_MAX_CRASHES the task fails for good, and the other tasks run."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 2}
    run = begin(feature, mail="pass", last="pass")

    with worker_dies_in(run.feature, "mail", times=3):
        run_pending()

    assert_run(run, state="failed", tasks={"mail": "lost", "last": "succeeded"}, attempts={"mail": 3})


# Redis is down


def test_redis_is_down_at_the_commit(client):
    """D9: The request gets its response, and its run is pending and is run later."""
    with redis_down():
        answer = buy(client)

    assert answer.status_code == 201
    assert_run(answer["Numflow-Run"], state="pending")

    run_pending()
    assert_run(answer["Numflow-Run"])


def test_run_pending_where_redis_is_down(client):
    """run_pending() works inside redis_down()."""
    with redis_down():
        answer = buy(client)
        run_pending()

    assert_run(answer["Numflow-Run"])


def test_what_was_done_before_redis_was_down(client):
    """redis_down() commits only what its block did."""
    earlier = buy(client)["Numflow-Run"]

    with redis_down():
        later = buy(client)["Numflow-Run"]

    assert_run(earlier, state="queued")
    assert_run(later, state="pending")


def test_no_pause_remains(client):
    """After the block, Redis is used again at once."""
    note_failure("mail", OSError("down"))

    with redis_down():
        buy(client)
        buy(client)

    assert (is_paused("default"), is_paused("mail")) == (False, True)


def test_a_block_without_a_dispatch():
    """If nothing was dispatched in the block, redis_down() fails the test."""
    with pytest.raises(AssertionError, match=r"redis_down\(\): nothing was dispatched in the block"), redis_down():
        pass


def test_an_error_in_the_block_is_the_one_to_be_seen():
    """An error in the block is raised, and not replaced by one of redis_down()."""
    with pytest.raises(ZeroDivisionError), redis_down():
        _ = 1 / 0

    assert dispatch.push is push


@pytest.mark.django_db(transaction=True)
def test_redis_is_down_for_what_is_committed(client):
    """In a TransactionTestCase, the request's own COMMIT finds Redis down."""
    with redis_down():
        answer = buy(client)
        assert_run(answer["Numflow-Run"], state="pending")


@without_redis()
class WithoutRedis(TransactionTestCase):
    """A class whose requests are committed but not enqueued."""

    def test_nothing_is_enqueued(self):
        """The row says that the run is queued, and nothing connects to Redis."""
        buy(self.client)

        assert not connection.in_atomic_block
        assert not is_paused("default")
        assert [run.state for run in run_pending()] == ["succeeded"]

    @override_settings(NUMFLOW={"TRACE": True})
    def test_the_trace_does_not_ask_redis(self):
        """The trace of such a request does not ask Redis for workers, and has no hint about them."""
        with self.assertLogs("numflow_django.trace", "INFO") as logs:
            buy(self.client)

        assert not is_paused("default")
        assert "(queue default, queued, run" in logs.output[0]
        assert "no worker" not in logs.output[0]


def test_redis_is_down_where_there_is_none(client):
    """Inside without_redis(), redis_down() has priority."""
    with without_redis(), redis_down():
        answer = buy(client)

    assert_run(answer["Numflow-Run"], state="pending")
    assert FeatureRun.objects.count() == 1
