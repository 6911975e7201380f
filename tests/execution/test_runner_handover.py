"""Runs that a worker releases, and runs that are cancelled or resumed."""

import logging

import pytest

from numflow_django import signals
from numflow_django.context import Context
from numflow_django.execution.stop import request_stop
from numflow_django.models import FeatureRun, RunState
from tests.support.running import executions, go_on, messages, run_through, states, task

pytestmark = pytest.mark.django_db(transaction=True)

STOP = "from numflow_django.execution.stop import request_stop\nrequest_stop()\nlines.append('{name}')"
NOTE = "lines.append('{name}')"


# Release


def test_a_run_is_released_between_two_tasks(feature, journal, stopped):
    """C13: a worker that is asked to stop ends its task and releases the run; the next worker continues it."""
    run = run_through(feature(mail=f"ctx.item = 'book'\n{STOP}", notify="lines.append(ctx.item)"))
    released = run.state, run.reason, run.position, run.lease_expires_at, journal()[:]

    stopped.requested = False
    go_on(run)

    assert released == (RunState.PENDING, "released: its worker was stopped", 1, None, ["mail"])
    assert (run.state, run.reason, run.token, journal()) == (RunState.SUCCEEDED, "", 2, ["mail", "book"])
    assert [(e.name, e.state, e.worker) for e in executions(run)] == [
        ("mail", "succeeded", "w1"),
        ("notify", "succeeded", "w2"),
    ]


def test_a_run_whose_last_task_was_running_ends(feature, stopped):
    """C13: a worker that is asked to stop during the last task ends the run."""
    run = run_through(feature(mail=STOP))

    assert run.state == RunState.SUCCEEDED


def test_a_worker_that_is_stopping_begins_no_task(feature, journal, stopped):
    """C13: a run that a stopping worker has just claimed is released unchanged, and no crash is counted."""
    stopped.requested = True

    run = run_through(feature(mail=NOTE))

    assert (run.state, run.position, journal(), executions(run)) == (RunState.PENDING, 0, [], [])


def test_a_release_is_signalled(feature, stopped, listen, caplog):
    """C8: run_released is sent with the run, and logged, and the run has not ended."""
    sent = []
    for kind in ("run_released", "run_succeeded", "run_failed"):
        listen(getattr(signals, kind), lambda run, kind=kind, **facts: sent.append((kind, run.state)))
    caplog.set_level(logging.INFO, logger="numflow_django")
    shop = feature(mail=STOP, notify=NOTE)

    run = run_through(shop)

    assert sent == [("run_released", "pending")]
    assert messages(caplog, logging.INFO)[-1] == (
        f"run released run={run.pk} feature={shop.label} state=pending reason='released: its worker was stopped'"
    )


# Cancel


CANCEL = "FeatureRun.objects.get(pk=ctx.run_id).cancel()\nlines.append('{name}')"


@pytest.mark.parametrize("rules", ["", "atomic=True"])
def test_a_run_is_cancelled_between_two_tasks(feature, journal, listen, rules):
    """C9: a run that is cancelled while a task runs ends after it; the task's work stands."""
    sent = []
    listen(signals.run_cancelled, lambda run, **facts: sent.append(run.state))

    run = run_through(feature(mail=task(CANCEL, rules), notify=NOTE))

    assert journal() == ["mail"]
    assert (run.state, run.reason, run.position) == (RunState.CANCELLED, "cancelled between two tasks", 1)
    assert (states(run), sent) == ([("mail", "succeeded")], [RunState.CANCELLED])


def test_a_cancelled_task_is_not_tried_again(feature, listen):
    """C9: a task that fails while its run is cancelled has failed, and no retry is announced."""
    sent = []
    for kind in ("task_failed", "task_retried"):
        listen(getattr(signals, kind), lambda kind=kind, **facts: sent.append(kind))

    run = run_through(feature(mail=task(f"{CANCEL}\nraise ValueError", "max_attempts=3")))

    assert (run.state, states(run), sent) == (RunState.CANCELLED, [("mail", "failed")], ["task_failed"])


def test_a_cancellation_in_the_last_task(feature):
    """C9: a run that is cancelled while its last task runs has nothing left to cancel."""
    run = run_through(feature(mail=CANCEL))

    assert run.state == RunState.SUCCEEDED


# Resume

FAIL_ONCE = "lines.append('{name}')\nif lines.count('{name}') == 1:\n    raise ValueError('no')"


def test_the_failed_tasks_are_run_again(feature, journal):
    """C9: resuming a failed run runs what failed, and nothing that succeeded, with the context as it stands."""
    shop = feature(mail=FAIL_ONCE, notify=f"{NOTE}\nctx.notified = True", publish="lines.append(ctx.notified)")
    run = run_through(shop, Context(notified=False))

    run.resume(only_failed=True)
    go_on(run)

    assert journal() == ["mail", "notify", True, "mail"]
    assert (run.state, run.reason, run.task_names) == (RunState.SUCCEEDED, "", ["notify", "publish", "mail"])
    assert [(e.name, e.attempt) for e in executions(run)][-1] == ("mail", 2)


def test_all_that_remain_are_run(feature, journal):
    """C9: resuming all that remain also runs the tasks that were skipped, in their order."""
    shop = feature(charge=task(FAIL_ONCE, "stop_on_failure=True"), ship=NOTE, publish=NOTE)
    run = run_through(shop)

    run.resume()
    go_on(run)

    assert journal() == ["charge", "charge", "ship", "publish"]
    assert (run.state, run.position) == (RunState.SUCCEEDED, 3)


@pytest.mark.parametrize(
    ("again", "state", "reason"),
    [
        (True, RunState.FAILED, "2 of 3 tasks failed: ship, publish"),
        (False, RunState.SUCCEEDED, ""),
    ],
    ids=["only failed", "all that remain"],
)
def test_a_run_succeeds_when_all_its_tasks_have(feature, again, state, reason):
    """C9: a resumed run whose skipped tasks were left out has not succeeded, and names them."""
    run = run_through(feature(charge=task(FAIL_ONCE, "stop_on_failure=True"), ship=NOTE, publish=NOTE))

    run.resume(only_failed=again)
    go_on(run)

    assert (run.state, run.reason) == (state, reason)


def test_tasks_that_were_never_run_are_no_success(feature, journal):
    """C9: a cancelled run that is resumed for its failure only has not succeeded, because tasks were never run."""
    run = run_through(feature(mail=f"{FAIL_ONCE}\n", notify=CANCEL, publish=NOTE))
    assert run.state == RunState.CANCELLED

    run.resume(only_failed=True)
    go_on(run)

    assert journal() == ["mail", "notify", "mail"]
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 3 tasks failed: publish")


def test_a_resumed_run_that_fails_again(feature):
    """C9: a run that is resumed and fails again has failed, and can be resumed again."""
    run = run_through(feature(mail="raise ValueError('no')", notify=NOTE))

    run.resume()
    go_on(run)

    assert (run.state, run.reason) == (RunState.FAILED, "1 of 2 tasks failed: mail")
    assert states(run) == [("mail", "failed"), ("notify", "succeeded"), ("mail", "failed")]
    assert run.resume()


def test_a_resumed_run_continues_where_it_was_cancelled(feature, journal):
    """C9: resuming a cancelled run runs its remaining tasks; it is no longer cancelled."""
    run = run_through(feature(mail=CANCEL, notify=NOTE, publish=NOTE))

    run.resume()
    go_on(run)

    assert journal() == ["mail", "notify", "publish"]
    assert (run.state, FeatureRun.objects.get().cancel_requested) == (RunState.SUCCEEDED, False)


def test_the_request_to_stop_is_for_this_process(stopped):
    """C13: request_stop, which a signal handler calls, is remembered."""
    request_stop()

    assert stopped.requested
