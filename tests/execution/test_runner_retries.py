"""Tasks that are retried, and tasks that begin later."""

import logging
from datetime import timedelta

import pytest
from django.db.models import F

from numflow_django import signals
from numflow_django.context import Context
from numflow_django.db.timestamps import Now
from numflow_django.execution import runner
from numflow_django.models import FeatureRun, RunState
from tests.market.models import Sale
from tests.support.running import executions, go_on, messages, queued, run_through, states, task

pytestmark = pytest.mark.django_db(transaction=True)

FAIL_TWICE = """
    lines.append(ctx.task.attempt)
    if ctx.task.attempt < 3:
        raise ConnectionError('away')
    return 'sent'
"""


def seconds_left(run):
    """The seconds until a run is due, by the clock of its database, rounded up."""
    left = FeatureRun.objects.annotate(left=F("available_at") - Now()).get(pk=run.pk).left
    return -(-left // timedelta(seconds=1))


def attempts(run):
    return [(e.name, e.attempt, e.state) for e in executions(run)]


# Errors


def test_a_failed_task_waits_for_its_next_attempt(feature, journal):
    """C4: a task with attempts left puts the run to waiting for its backoff, and the tasks after it wait too."""
    shop = feature(
        mail=task(FAIL_TWICE, "max_attempts=3, delay=40, factor=2, jitter=0"), notify="lines.append('notify')"
    )

    run = run_through(shop)
    first = run.state, run.reason, run.position, run.lease_expires_at, seconds_left(run)
    go_on(run)
    second = run.state, seconds_left(run), journal()[:]
    go_on(run)

    reason = "mail is tried again after ConnectionError"
    assert first == (RunState.WAITING, reason, 0, None, 40)
    assert second == (RunState.WAITING, 80, [1, 2])
    assert journal() == [1, 2, 3, "notify"]
    assert attempts(run) == [
        ("mail", 1, "failed"),
        ("mail", 2, "failed"),
        ("mail", 3, "succeeded"),
        ("notify", 1, "succeeded"),
    ]
    assert (run.state, run.reason, executions(run)[2].result) == (RunState.SUCCEEDED, "", "sent")


def test_a_task_out_of_attempts(feature, journal):
    """C4: after its last execution a task has failed for good, and the tasks after it are run."""
    shop = feature(mail=task("raise ValueError('no')", "max_attempts=2"), notify="lines.append('notify')")

    run = go_on(run_through(shop))

    assert attempts(run) == [("mail", 1, "failed"), ("mail", 2, "failed"), ("notify", 1, "succeeded")]
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 2 tasks failed: mail")


def test_the_attempts_of_the_settings(feature, settings):
    """C4: a task without its own number of attempts has that of NUMFLOW."""
    settings.NUMFLOW = {"TASK_MAX_ATTEMPTS": 2}

    run = run_through(feature(mail="raise ValueError('no')"))

    assert (run.state, states(run)) == (RunState.WAITING, [("mail", "failed")])


@pytest.mark.parametrize(
    ("error", "state"),
    [("ConnectionResetError", RunState.WAITING), ("ValueError", RunState.FAILED)],
    ids=["listed", "not listed"],
)
def test_only_the_errors_of_retry_on(feature, error, state):
    """C4: an error that retry_on does not list is final at once."""
    run = run_through(feature(mail=task(f"raise {error}", "max_attempts=3, retry_on=(OSError,)")))

    assert (run.state, attempts(run)) == (state, [("mail", 1, "failed")])


def test_a_timeout_is_tried_again(feature):
    """C4: a task over its time limit is retried as after any other error."""
    run = run_through(feature(mail=task("expire(); time.sleep(LONG)", "timeout=LONG, max_attempts=2")))

    assert run.state == RunState.WAITING
    assert run.reason == "mail is tried again after numflow_django.exceptions.TaskTimeout"


def test_the_rest_is_skipped_only_after_the_last_attempt(feature):
    """With stop_on_failure the tasks after it are skipped when it has failed for good, and not before."""
    shop = feature(charge=task("raise ValueError", "max_attempts=2, stop_on_failure=True"), ship="pass")

    run = run_through(shop)
    first = states(run)
    go_on(run)

    assert first == [("charge", "failed")]
    assert states(run) == [("charge", "failed"), ("charge", "failed"), ("ship", "skipped")]
    assert run.state == RunState.FAILED


def test_what_a_failed_attempt_stored_is_kept(feature):
    """A19: the next attempt reads what the one before stored on ctx."""
    body = "ctx.tried = ctx.get('tried', 0) + 1\nif ctx.tried < 2:\n    raise ValueError\nreturn ctx.tried"

    run = go_on(run_through(feature(mail=task(body, "max_attempts=2"))))

    assert executions(run)[1].result == 2


def test_a_retry_is_signalled(feature, listen, caplog):
    """C8: task_retried is sent for an attempt that is not the last, task_failed for the last one only."""
    sent = []
    for kind in ("task_retried", "task_failed", "run_released", "run_failed"):
        listen(getattr(signals, kind), lambda kind=kind, **facts: sent.append((kind, repr(facts.get("error")))))
    shop = feature(mail=task("raise ValueError('no')", "max_attempts=2"))

    run = go_on(run_through(shop))

    error = "ValueError('no')"
    assert sent == [("task_retried", error), ("run_released", "None"), ("task_failed", error), ("run_failed", "None")]
    assert f"task retried run={run.pk} feature={shop.label} task=mail attempt=1 error=ValueError" in messages(
        caplog, logging.WARNING
    )


def test_an_atomic_attempt_that_failed_leaves_nothing(feature):
    """D8: of several attempts of a task with atomic=True, only the work of the last one stays."""
    body = "Sale.objects.create(item=str(ctx.task.attempt))\nif ctx.task.attempt < 2:\n    raise ValueError"

    run = go_on(run_through(feature(charge=task(body, "atomic=True, max_attempts=2"))))

    assert (run.state, [sale.item for sale in Sale.objects.all()]) == (RunState.SUCCEEDED, ["2"])


# Retry


def retry(options=""):
    """A task that asks to be run again until its third execution."""
    return f"from numflow_django import Retry\nlines.append(ctx.task.attempt)\nreturn Retry({options})"


def test_a_task_that_asks_to_be_run_again(feature, journal, caplog):
    """C4: a task that returns Retry(delay=...) is run again after that, and the tasks after it wait."""
    body = f"if ctx.task.attempt > 2:\n    return 'sent'\n{retry('delay=30')}"
    shop = feature(mail=body, notify="lines.append('notify')")

    run = run_through(shop)
    waiting = run.state, run.reason, seconds_left(run)
    go_on(go_on(run))

    assert waiting == (RunState.WAITING, "mail is tried again after Retry", 30)
    assert journal() == [1, 2, "notify"]
    assert [(e.state, e.error_type, e.error_message) for e in executions(run)][:3] == [
        ("failed", "Retry", "the task asked to be run again: Retry(delay=30, max_attempts=None)"),
        ("failed", "Retry", "the task asked to be run again: Retry(delay=30, max_attempts=None)"),
        ("succeeded", "", ""),
    ]
    assert run.state == RunState.SUCCEEDED


@pytest.mark.parametrize(
    ("options", "rules", "limit"),
    [("", "", 11), ("max_attempts=2", "", 2), ("max_attempts=13", "", 13), ("", "max_attempts=12", 12)],
    ids=["the eleven", "fewer", "more", "the task's rules"],
)
def test_a_task_is_not_run_again_for_ever(feature, journal, options, rules, limit):
    """C4: without max_attempts there are eleven executions, or as many as the task's own rules allow."""
    run = run_through(feature(mail=task(retry(options), rules), notify="lines.append('notify')"))
    while run.state == RunState.WAITING:
        go_on(run)

    assert journal() == [*range(1, limit + 1), "notify"]
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 2 tasks failed: mail")


def test_an_atomic_task_that_asks_to_be_run_again(feature):
    """D8: what a task with atomic=True wrote and stored before it returned a Retry is gone."""
    body = f"""
        Sale.objects.create(item=str(ctx.task.attempt))
        if ctx.task.attempt == 2:
            return "stored" in ctx
        ctx.stored = 1
        {retry().splitlines()[0]}
        return Retry()
    """

    run = go_on(run_through(feature(charge=task(body, "atomic=True"))))

    assert [(e.state, e.error_type, e.result) for e in executions(run)] == [
        ("failed", "Retry", None),
        ("succeeded", "", False),
    ]
    assert [sale.item for sale in Sale.objects.all()] == ["2"]


def test_a_plain_task_that_asks_to_be_run_again_keeps_what_it_stored(feature):
    """A task that polls may note on ctx how far it has come before it returns a Retry."""
    body = f"ctx.page = ctx.get('page', 0) + 1\nif ctx.page == 2:\n    return ctx.page\n{retry()}"

    run = go_on(run_through(feature(poll=body)))

    assert executions(run)[1].result == 2


# start_after


def test_a_first_task_that_starts_later(feature, journal):
    """A run whose first task has a start_after does not begin early, even if it is enqueued early."""
    shop = feature(mail=task("lines.append('mail')", "start_after=3600"))

    run = run_through(shop)
    early = run.state, run.reason, journal()[:], executions(run)
    FeatureRun.objects.update(created_at=F("created_at") - timedelta(hours=1))
    go_on(run)

    assert early == (RunState.WAITING, "mail starts later", [], [])
    assert (run.state, journal()) == (RunState.SUCCEEDED, ["mail"])


def test_a_later_task_that_starts_later(feature, journal):
    """A task's start_after begins when the task before it has ended; the tasks after it wait too."""
    shop = feature(
        mail="lines.append('mail')",
        remind=task("lines.append('remind')", "start_after=60"),
        close="lines.append('end')",
    )

    run = run_through(shop)
    early = run.state, run.position, seconds_left(run), journal()[:]
    run.log.update(finished_at=F("finished_at") - timedelta(seconds=60))
    go_on(run)

    assert early == (RunState.WAITING, 1, 60, ["mail"])
    assert (run.state, journal()) == (RunState.SUCCEEDED, ["mail", "remind", "end"])


def test_a_task_that_starts_later_waits_once(feature, journal):
    """Before its second attempt a task waits for its backoff and not for its start_after again."""
    body = "lines.append(ctx.task.attempt)\nif ctx.task.attempt < 2:\n    raise ValueError"
    shop = feature(mail=task(body, "start_after=3600, max_attempts=2, delay=5, jitter=0"))
    row = queued(shop)
    FeatureRun.objects.update(created_at=F("created_at") - timedelta(hours=1))

    runner.run(row.pk, 1, worker="w1")
    row.reread()
    wait = seconds_left(row)
    go_on(row)

    assert (wait, journal(), row.state) == (5, [1, 2], RunState.SUCCEEDED)


def test_a_resumed_task_has_all_its_attempts_again(feature, journal):
    """C9: what a task failed before its run was resumed does not count; the attempts are numbered on."""
    shop = feature(mail=task("lines.append(ctx.task.attempt)\nraise ValueError", "max_attempts=2, jitter=0"))
    run = go_on(run_through(shop))
    assert run.state == RunState.FAILED

    run.resume(only_failed=True)
    go_on(run)

    assert (run.state, journal()) == (RunState.WAITING, [1, 2, 3])
    go_on(run)
    assert (run.state, journal()) == (RunState.FAILED, [1, 2, 3, 4])


def test_a_resumed_task_that_was_skipped_is_new(feature, journal):
    """C9: a task that was only ever skipped begins with its first attempt when its run is resumed."""
    charge = "lines.append('charge')\nif len(lines) < 2:\n    raise ValueError"
    ship = task("lines.append(ctx.task.attempt)\nraise ValueError", "max_attempts=2")
    run = run_through(feature(charge=task(charge, "stop_on_failure=True"), ship=ship), Context())

    run.resume()
    go_on(go_on(run))

    assert journal() == ["charge", "charge", 1, 2]
    assert run.state == RunState.FAILED
