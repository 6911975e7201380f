"""assert_run() and assert_no_runs(): what they check, and their messages."""

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
    """Return the message of assert_run()."""
    with pytest.raises(AssertionError) as caught:
        assert_run(*arguments, **expected)
    return str(caught.value)


def test_a_run_by_any_name(bought):
    """
    It accepts a run, its id as UUID or text, and the label of a feature with one run; it returns the run, read again.
    """
    stale = FeatureRun(pk=bought.pk, feature="market.buy", state="queued")
    stale._state.db = "default"

    for name in ("market.buy", bought, stale, bought.pk, str(bought.pk)):
        assert assert_run(name).state == "succeeded"


def test_all_that_can_be_asked(bought):
    """It checks state, tasks in order or by name, attempts, and values of the context."""
    assert_run(
        bought,
        state="succeeded",
        tasks=["mail", "notify", "publish"],
        attempts={"mail": 1},
        context={"item": "tea", "notified": True},
    )
    assert_run(bought, tasks={"mail": "succeeded"})


def test_a_failed_run_shows_its_whole_log(client):
    """The message has the difference, then reason, request, steps and every execution, with the task's traceback."""
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
    assert "ConnectionError: the gateway is down" in text
    assert lines[-1].startswith("  task publish, attempt 1: succeeded, returned ")


def test_all_differences_at_once(bought):
    """The message has all differences, so that one run of the test is enough."""
    text = message(bought, state="failed", tasks=["mail"], attempts={"mail": 2}, context={"item": "cup", "gone": 1})

    assert text.splitlines()[:5] == [
        "state: succeeded, not failed",
        "tasks: mail, notify, publish succeeded, not mail",
        "attempts: mail had 1, not 2",
        "context: item is 'tea', not 'cup'",
        "context: there is no 'gone'; its keys are: item, mailed, notified, password, sale",
    ]


def test_a_run_that_has_not_run(client):
    """The message says what to do, and which tasks have not run."""
    run = buy(client)["Numflow-Run"]

    text = message(run, tasks={"mail": "succeeded"})

    assert "state: queued, not succeeded" in text
    assert "tasks: mail not run, not succeeded" in text
    assert "is queued: its tasks have not run; call run_pending()" in text
    assert "task mail: not run" in text


def test_a_run_that_waits():
    """The message says how to skip the waits."""
    start_run("market.buy", start_after=timedelta(hours=1))

    assert "run_pending(waiting=True) skips all waits, run_pending(until=60) those of the next minute" in message(
        "market.buy"
    )


def test_a_lost_try_is_shown(bought):
    """For an execution without a traceback, the message has its error message."""
    bought.executions.filter(name="mail").update(state="lost", error_message="its worker died")

    assert "task mail, attempt 1: lost: its worker died" in message(bought, tasks={"mail": "succeeded"})


def test_no_run_of_a_feature():
    """If the feature has no run, the message says so and shows the other runs."""
    assert message("market.buy").startswith("there is no run of market.buy\n\nthere is no run at all")


def test_an_id_that_no_run_has(bought):
    """If no run has the id, the message says so and shows the other runs."""
    key = uuid4()

    assert message(key).startswith(f"there is no run {key}\n\nrun {bought.pk} of market.buy is succeeded")


def test_two_runs_of_a_feature(client):
    """If the feature has two runs, the message asks for one of them."""
    buy(client)
    buy(client)

    assert message("market.buy").startswith("there are 2 runs of market.buy; pass one of them, or its id")


def test_a_rolled_back_request(client):
    """A rolled-back request is found by its state, and is ignored when other runs of its feature are looked for."""
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
    """assert_no_runs() passes without a run; with one, the message shows it."""
    assert_no_runs()
    buy(client)

    for label in (None, "market.buy"):
        with pytest.raises(AssertionError, match=r"there should be no run\n\nrun .* of market.buy is queued"):
            assert_no_runs(label)


def test_no_runs_of_this_feature(client, feature):
    """With a label, runs of other features are ignored."""
    buy(client)

    assert_no_runs(feature(only="pass").label)


@pytest.mark.parametrize("ask", [assert_run, assert_no_runs])
def test_a_label_that_no_feature_has(ask):
    """A misspelt label raises an error and does not pass as "no run"."""
    with pytest.raises(UnknownFeature, match=r"there is no feature 'market.byu'; did you mean 'market.buy'\?"):
        ask("market.byu")


def test_names_that_do_not_exist(bought):
    """A misspelt state or task raises ValueError, not AssertionError."""
    with pytest.raises(ValueError, match=r"state='done'\): the states are pending, queued"):
        assert_run(bought, state="done")
    with pytest.raises(ValueError, match=r"market.buy has no async task 'mial'; it has mail, notify, publish"):
        assert_run(bought, tasks={"mial": "succeeded"})
    with pytest.raises(ValueError, match=r"has no async task 'mial'"):
        assert_run(bought, attempts={"mial": 1})


@pytest.mark.django_db(databases=["default", "other"])
def test_runs_of_all_databases(feature):
    """Runs of all databases are found."""
    run = start_run(feature("shop", using="other", only="pass").label)

    run_pending()

    assert_run(run.feature)
    assert_run(str(run.pk))
