"""Runs whose worker died: the execution that was lost, and how often a task may lose one."""

import logging

import pytest

from numflow_django import signals
from numflow_django.execution.recovery import record_loss
from numflow_django.models import FeatureRun, RunState, TaskExecution
from tests.support.running import executions, go_on, messages, queued, run_through, states, task

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

NOTE = "lines.append('{name}')"


def claimed(feature, **fields):
    row = queued(feature, **fields)
    return FeatureRun.objects.using(feature.using).claim(row.pk, 1, worker="w1")


def die(run, times=1):
    """Let *times* workers die during the run's current task; the first of them has claimed the run."""
    runs = FeatureRun.objects.using("default")
    for _ in range(times):
        if run.state != RunState.RUNNING:
            runs.filter(pk=run.pk).update(state=RunState.QUEUED)
            run = runs.claim(run.pk, run.dispatch_no, worker="w1")
        assert record_loss(run, "its work-horse was killed", only_if_expired=False)
        run.reread()
    return run


def test_a_lost_try_is_on_record(feature):
    """C13: the execution of a dead worker is recorded as lost, and the run is pending at that task."""
    run = die(claimed(feature(mail=NOTE, notify=NOTE), position=1))

    assert (run.state, run.position, run.reason) == (RunState.PENDING, 1, "resuming: its work-horse was killed")
    [lost] = executions(run)
    assert (lost.name, lost.state, lost.position, lost.attempt, lost.token) == ("notify", "lost", 1, 1, 1)
    assert (lost.worker, lost.error_message, lost.started_at) == ("w1", "its work-horse was killed", None)


def test_a_resumed_run_goes_on_at_the_task_that_was_lost(feature, journal):
    """C13: the next worker runs the task again, and sees in ctx.task.attempt that it ran before."""
    run = die(claimed(feature(mail="lines.append(ctx.task.attempt)", notify=NOTE)), times=2)

    go_on(run)

    assert journal() == [3, "notify"]
    assert [(e.state, e.attempt) for e in executions(run)] == [
        ("lost", 1),
        ("lost", 2),
        ("succeeded", 3),
        ("succeeded", 1),
    ]
    assert (run.state, run.reason) == (RunState.SUCCEEDED, "")


def test_a_resumed_run_has_its_whole_crash_budget_again(feature, settings):
    """C9: the crashes before a run was resumed do not count for TASK_MAX_CRASHES."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 1}
    run = die(claimed(feature(mail=NOTE)), times=2)
    assert (run.state, run.reason) == (RunState.FAILED, "crash loop: mail")
    run.resume()
    run.reread()

    run = die(run)

    assert (run.state, [e.attempt for e in executions(run)]) == (RunState.PENDING, [1, 2, 3])
    assert die(run).state == RunState.FAILED


@pytest.mark.parametrize(("most", "survived"), [(0, 0), (1, 1), (3, 3)])
def test_a_crash_loop_ends(feature, journal, settings, most, survived):
    """A task that takes its worker down more than TASK_MAX_CRASHES times has failed, and the next tasks run."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": most}
    run = claimed(feature(mail=NOTE, notify=NOTE))
    if survived:
        run = die(run, times=survived)
        assert (run.state, run.position) == (RunState.PENDING, 0)

    run = die(run)
    given_up = run.state, run.position, run.reason
    go_on(run)

    assert given_up == (RunState.PENDING, 1, "crash loop: mail")
    assert states(run) == [("mail", "lost")] * (survived + 1) + [("notify", "succeeded")]
    assert journal() == ["notify"]
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 2 tasks failed: mail")


def test_a_crash_loop_in_the_last_task(feature, settings, listen):
    """A run whose last task takes its workers down has failed, and says so."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 1}
    ends = []
    listen(signals.run_failed, lambda run, **facts: ends.append((run.state, run.reason)))

    run = die(claimed(feature(mail=NOTE)), times=2)

    assert (run.state, run.reason, run.position) == (RunState.FAILED, "crash loop: mail", 1)
    assert run.finished_at is not None
    assert ends == [(RunState.FAILED, "crash loop: mail")]


def test_a_crash_loop_of_a_task_with_stop_on_failure(feature, settings, listen):
    """The tasks after a crash loop are skipped if its task has stop_on_failure, and each leaves a row and a signal."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 0}
    skipped = []
    listen(signals.task_skipped, lambda execution, **facts: skipped.append(execution.name))

    run = die(claimed(feature(charge=task(NOTE, "stop_on_failure=True"), ship=NOTE, publish=NOTE)))

    assert [(e.name, e.state, e.error_message) for e in executions(run)][1:] == [
        ("ship", "skipped", "charge failed"),
        ("publish", "skipped", "charge failed"),
    ]
    assert (run.state, run.reason, run.position) == (RunState.FAILED, "crash loop: charge", 3)
    assert skipped == ["ship", "publish"]


def test_a_crash_loop_in_code_that_is_gone(feature, tree, settings):
    """A task whose code a deploy has removed can be given up all the same."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 0}
    run = claimed(feature(mail=NOTE, notify=NOTE))
    tree.remove("shop")

    run = die(run)

    assert (run.state, run.position, run.reason) == (RunState.PENDING, 1, "crash loop: mail")


def test_failures_are_no_crashes(feature, settings):
    """Attempts that failed do not use up the crashes that a task is allowed."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 1}
    run = run_through(feature(mail=task("raise ValueError", "max_attempts=9, delay=0")))
    go_on(run)

    run = die(run)

    assert (run.state, run.position) == (RunState.PENDING, 0)
    assert states(run) == [("mail", "failed"), ("mail", "failed"), ("mail", "lost")]
    assert executions(run)[2].attempt == 3


def test_a_loss_is_recorded_once(feature):
    """If two processes see a dead worker, one records the loss and the other changes nothing."""
    run = claimed(feature(mail=NOTE))
    other = FeatureRun.objects.get()

    first, second = (record_loss(each, "killed", only_if_expired=False) for each in (run, other))

    assert (first, second) == (True, False)
    assert TaskExecution.objects.count() == 1


def test_a_loss_is_signalled(feature, listen, caplog):
    """C8: task_lost is sent with the run as it is now and the execution, and logged as an error."""
    sent = []
    listen(signals.task_lost, lambda run, execution, **facts: sent.append((run.state, execution.name)))
    shop = feature(mail=NOTE)

    run = die(claimed(shop))

    assert sent == [("pending", "mail")]
    assert messages(caplog, logging.ERROR) == [
        f"task lost run={run.pk} feature={shop.label} task=mail attempt=1 worker=w1: its work-horse was killed"
    ]


def test_a_cancelled_run_is_not_resumed(feature, listen):
    """C9: if cancellation was requested and then the worker died, the run is cancelled, with a signal."""
    ends = []
    listen(signals.run_cancelled, lambda run, **facts: ends.append(run.state))
    run = claimed(feature(mail=NOTE))
    run.cancel()

    run = die(run)

    assert (run.state, run.reason, states(run)) == (
        RunState.CANCELLED,
        "cancelled between two tasks",
        [("mail", "lost")],
    )
    assert ends == [RunState.CANCELLED]


def test_a_loss_on_another_database_behind_a_router(feature, settings):
    """A loss is counted and recorded in the run's own database, wherever a router sends other reads."""
    settings.NUMFLOW = {"TASK_MAX_CRASHES": 1}
    settings.DATABASE_ROUTERS = ["tests.test_models.LaggingReplica"]
    run = claimed(feature(mail=NOTE))

    run = die(run, times=2)

    assert (run.state, run.reason) == (RunState.FAILED, "crash loop: mail")
    assert not FeatureRun.objects.using("other").exists()
