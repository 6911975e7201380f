"""Runs in flight while a deploy changes their tasks."""

import logging
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from numflow_django.execution import runner
from numflow_django.execution.stop import Stop
from numflow_django.models import FeatureRun, RunState
from tests.support.running import executions, go_on, queued, run_through, states

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch):
    """The worker's clock, set forward by hand; an execution's times follow it."""
    real = timezone.now
    ahead = []
    monkeypatch.setattr(timezone, "now", lambda: real() + sum(ahead, timedelta(0)))
    return ahead.append


def test_a_feature_that_the_worker_does_not_know(feature):
    """A run of a feature that is not in this worker's code waits for a worker that has it, with the reason."""
    shop = feature(mail="pass")

    run = run_through(shop, feature="shop.unknown")

    assert (run.state, run.position, states(run)) == (RunState.WAITING, 0, [])
    since = run.reason.removeprefix("unknown feature shop.unknown since ").partition(";")[0]
    assert run.reason.endswith(
        "; restart the workers if it is new; waiting for one whose code has it, 15 minutes at most"
    )
    assert abs(timezone.now() - datetime.fromisoformat(since)) < timedelta(minutes=1)
    assert run.available_at > run.created_at


def test_a_task_that_the_worker_does_not_know(feature):
    """A run waits before a task that is not in this worker's code, and never skips it silently."""
    shop = feature(mail="pass", publish="pass")

    run = run_through(shop, task_names=["mail", "notify", "publish"])

    assert (run.state, run.position, states(run)) == (RunState.WAITING, 1, [("mail", "succeeded")])
    assert run.reason.startswith("unknown task notify since ")


def test_a_worker_that_knows_the_task_goes_on(feature, journal):
    """A run that waited for code continues when a worker has it, and its reason is empty again."""
    run = run_through(feature(mail="lines.append('mail')"), task_names=["mail", "notify"])

    feature(mail="lines.append('mail')", notify="lines.append('notify')")
    go_on(run)

    assert (run.state, run.reason, journal()) == (RunState.SUCCEEDED, "", ["mail", "notify"])


REMEDY = "no worker's code has had it for 15 minutes; put it back, restart the workers, and resume the run"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({"feature": "shop.unknown"}, f"unknown feature shop.unknown: {REMEDY}"),
        ({"task_names": ["notify", "mail"]}, f"unknown task notify: {REMEDY}"),
    ],
    ids=["feature", "task"],
)
def test_no_worker_has_the_code(feature, clock, journal, names, reason):
    """After fifteen minutes without a worker that has the code the run fails, says so, and runs no further task."""
    run = run_through(feature(mail="lines.append('mail')"), **names)

    clock(timedelta(minutes=14))
    go_on(run)
    patient = run.state
    clock(timedelta(minutes=2))
    go_on(run)

    assert patient == RunState.WAITING
    assert (run.state, run.reason, run.position, journal()) == (RunState.FAILED, reason, 0, [])
    assert run.finished_at is not None


@pytest.mark.parametrize("names", [{"feature": "shop.gone"}, {"task_names": ["notify", "mail"]}], ids=list)
def test_each_hand_over_for_want_of_code_is_warned_of(feature, caplog, names):
    """Each release because of missing code logs one warning: run, feature, task, and what happens next."""
    caplog.set_level(logging.INFO, logger="numflow_django")
    run = run_through(feature(mail="pass"), **names)
    go_on(run)

    logged = [record for record in caplog.records if not record.getMessage().startswith("run started")]
    what = f"feature {run.feature}" if "feature" in names else "task notify"
    line = (
        f"run waits for code run={run.pk} feature={run.feature} task={run.task_names[0]} reason='unknown {what} since "
    )
    assert [record.levelname for record in logged] == ["WARNING"] * 2
    assert all(record.getMessage().startswith(line) for record in logged)
    assert logged[0].getMessage().endswith("code has it, 15 minutes at most'; after that it fails")


def test_patience_begins_anew_for_a_resumed_run(feature, clock):
    """C9: a run that failed because of missing code, and is resumed, waits for a deploy again."""
    run = run_through(feature(mail="pass"), task_names=["notify"])
    clock(timedelta(minutes=16))
    go_on(run)

    run.resume()
    go_on(run)

    assert (run.state, run.reason.partition(" since")[0]) == (RunState.WAITING, "unknown task notify")


def interrupted(feature, journal, **tasks):
    """A run that was released after its first task, "mail"."""
    run = queued(
        feature(
            mail="lines.append('mail')\nfrom numflow_django.execution.stop import request_stop\nrequest_stop()",
            **tasks,
        )
    )
    runner.run(run.pk, 1, worker="w1")
    run.reread()
    assert (run.state, run.position, journal()) == (RunState.PENDING, 1, ["mail"])
    Stop.requested = False
    return run


NOTE = "lines.append('{name}')"
DEPLOYS = {
    "inserted before": (["check", "mail", "notify", "publish"], ["notify", "publish"], RunState.SUCCEEDED),
    "inserted between": (["mail", "check", "notify", "publish"], ["notify", "publish"], RunState.SUCCEEDED),
    "renumbered": (["publish", "notify", "mail"], ["notify", "publish"], RunState.SUCCEEDED),
    "a settled one removed": (["notify", "publish"], ["notify", "publish"], RunState.SUCCEEDED),
    "one to come removed": (["mail", "publish"], [], RunState.WAITING),
    "one to come renamed": (["mail", "notify_all", "publish"], [], RunState.WAITING),
    "the last one removed": (["mail", "notify"], ["notify"], RunState.WAITING),
}


@pytest.mark.parametrize("deploy", DEPLOYS)
def test_a_deploy_between_two_tasks(feature, journal, stopped, deploy):
    """A run goes through the tasks of its request, in their order, whatever was deployed; it waits for what is gone."""
    names, ran, state = DEPLOYS[deploy]
    run = interrupted(feature, journal, notify=NOTE, publish=NOTE)

    feature(**dict.fromkeys(names, NOTE))
    go_on(run)

    assert journal() == ["mail", *ran]
    assert (run.state, run.task_names) == (state, ["mail", "notify", "publish"])
    assert [e.name for e in executions(run)] == ["mail", *ran]


def test_a_feature_that_was_removed(feature, tree, journal, stopped):
    """A run of a feature that a deploy removed waits, and is not lost."""
    run = interrupted(feature, journal, notify=NOTE)

    tree.remove("shop")
    go_on(run)

    assert run.state == RunState.WAITING
    assert run.reason.startswith(f"unknown feature {run.feature} since ")
    assert FeatureRun.objects.get().position == 1
