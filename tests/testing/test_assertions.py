"""assert_run() and assert_no_runs(): what they hold, and what they say when it does not."""

from datetime import timedelta
from uuid import uuid4

import pytest

from numflow_django import start_run
from numflow_django.exceptions import UnknownFeature
from numflow_django.models import FeatureRun
from numflow_django.testing import assert_no_runs, assert_run, run_pending

pytestmark = pytest.mark.django_db


def buy(client, item="tea"):
    return client.post("/buy/", {"item": item}, content_type="application/json")


@pytest.fixture
def bought(client):
    """A run that has succeeded."""
    buy(client)
    [run] = run_pending()
    return run


def message(*arguments, **expected):
    """What assert_run() says."""
    with pytest.raises(AssertionError) as caught:
        assert_run(*arguments, **expected)
    return str(caught.value)


def test_a_run_by_any_name(bought):
    """A run, its id, as text or not, and the label of a feature with one run; the row is given, read again."""
    stale = FeatureRun(pk=bought.pk, feature="market.buy", state="queued")
    stale._state.db = "default"

    for name in ("market.buy", bought, stale, bought.pk, str(bought.pk)):
        assert assert_run(name).state == "succeeded"


def test_all_that_can_be_asked(bought):
    """State, tasks in order or by name, attempts, and values of the context."""
    assert_run(
        bought,
        state="succeeded",
        tasks=["mail", "notify", "publish"],
        attempts={"mail": 1},
        context={"item": "tea", "notified": True},
    )
    assert_run(bought, tasks={"mail": "succeeded"})


def test_a_failed_run_shows_its_whole_log(client):
    """The difference first; then reason, request, steps, and every execution, with the task's traceback."""
    run = buy(client, "bad luck")["Numflow-Run"]
    run_pending()

    text = message(run)

    lines = text.splitlines()
    assert lines[0] == "state: failed, not succeeded"
    assert lines[2:7] == [
        f"run {run} of market.buy is failed: 1 of 3 tasks failed: notify",
        "  POST /buy/ -> 201",
        "  step 100 validate",
        "  step 200 sell",
        "  step 300 respond",
    ]
    assert lines[7] == "  task mail, attempt 1: succeeded, returned {'to': 'buyer@example.com'}"
    assert lines[8] == "  task notify, attempt 1: failed"
    assert "200_notify.py" in text
    assert "ConnectionError: the gateway is away" in text
    assert lines[-1].startswith("  task publish, attempt 1: succeeded, returned ")


def test_all_differences_at_once(bought):
    """Nobody has to run the test once for each."""
    text = message(bought, state="failed", tasks=["mail"], attempts={"mail": 2}, context={"item": "cup", "gone": 1})

    assert text.splitlines()[:5] == [
        "state: succeeded, not failed",
        "tasks: mail, notify, publish succeeded, not mail",
        "attempts: mail had 1, not 2",
        "context: item is 'tea', not 'cup'",
        "context: there is no 'gone'; its keys are: item, mailed, notified, password, sale",
    ]


def test_a_run_that_nobody_has_run(client):
    """The message says what to do, and which tasks were not run."""
    run = buy(client)["Numflow-Run"]

    text = message(run, tasks={"mail": "succeeded"})

    assert "state: queued, not succeeded" in text
    assert "tasks: mail not run, not succeeded" in text
    assert "is queued: its tasks have not run; call run_pending()" in text
    assert "task mail: not run" in text


def test_a_run_that_waits():
    """The message says how not to."""
    start_run("market.buy", start_after=timedelta(hours=1))

    assert "run_pending(waiting=True) skips all waits, run_pending(until=60) those of the next minute" in message(
        "market.buy"
    )


def test_a_lost_try_is_told(bought):
    """An execution without a traceback shows what is known of it."""
    bought.executions.filter(name="mail").update(state="lost", error_message="its worker died")

    assert "task mail, attempt 1: lost: its worker died" in message(bought, tasks={"mail": "succeeded"})


def test_no_run_of_a_feature():
    """The message says so, and what other runs there are."""
    assert message("market.buy").startswith("there is no run of market.buy\n\nthere is no run at all")


def test_an_id_that_no_run_has(bought):
    """The same by id."""
    key = uuid4()

    assert message(key).startswith(f"there is no run {key}\n\nrun {bought.pk} of market.buy is succeeded")


def test_two_runs_of_a_feature(client):
    """Which one is meant?"""
    buy(client)
    buy(client)

    assert message("market.buy").startswith("there are 2 runs of market.buy; pass one of them, or its id")


def test_a_rolled_back_request(client):
    """It is found by its state, and stands in the way of no run of its feature."""
    client.raise_request_exception = False
    buy(client, "boom")

    assert_no_runs("market.buy")
    assert_no_runs()
    run = assert_run("market.buy", state="rolled_back")
    assert "step 200 sell: RuntimeError: boom" in message(run)

    buy(client)
    run_pending()
    assert_run("market.buy")


def test_no_runs(client):
    """A request without one passes; with one, the message shows it."""
    assert_no_runs()
    buy(client)

    for label in (None, "market.buy"):
        with pytest.raises(AssertionError, match=r"there should be no run\n\nrun .* of market.buy is queued"):
            assert_no_runs(label)


def test_no_runs_of_this_feature(client, feature):
    """Those of others do not matter."""
    buy(client)

    assert_no_runs(feature(only="pass").label)


@pytest.mark.parametrize("ask", [assert_run, assert_no_runs])
def test_a_label_that_no_feature_has(ask):
    """A typo must not pass for "there is none"."""
    with pytest.raises(UnknownFeature, match=r"there is no feature 'market.byu'; did you mean 'market.buy'\?"):
        ask("market.byu")


def test_names_that_do_not_exist(bought):
    """A typo in a state or a task is distinguished from a difference."""
    with pytest.raises(ValueError, match=r"state='done'\): the states are pending, queued"):
        assert_run(bought, state="done")
    with pytest.raises(ValueError, match=r"market.buy has no async task 'mial'; it has mail, notify, publish"):
        assert_run(bought, tasks={"mial": "succeeded"})
    with pytest.raises(ValueError, match=r"has no async task 'mial'"):
        assert_run(bought, attempts={"mial": 1})


@pytest.mark.django_db(databases=["default", "other"])
def test_runs_of_all_databases(feature):
    """They are found wherever they are."""
    run = start_run(feature("shop", using="other", only="pass").label)

    run_pending()

    assert_run(run.feature)
    assert_run(str(run.pk))
