"""What a dead work-horse has left: the run that it was executing, those that it had claimed, and jobs it had taken."""

import logging
from uuid import uuid4

import pytest
from django.db import OperationalError

from numflow_django.execution import lost_runs as module
from numflow_django.execution.lost_runs import release_lost_runs
from numflow_django.models import FeatureRun, RunState
from tests.support.running import executions, messages

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

MESSAGE = "its work-horse was killed"


def queued(**facts):
    facts = {"feature": "market.buy", "queue": "default", "state": RunState.QUEUED, "dispatch_no": 1} | facts
    return FeatureRun.objects.create(task_names=["one", "two"], **facts)


def claimed(worker="w1"):
    return FeatureRun.objects.claim(queued().pk, 1, worker=worker)


def release(worker="w1", begun=(), taken=()):
    dispatches = [(run.pk, run.dispatch_no) for run in taken]
    return release_lost_runs(worker, begun={run.pk for run in begun}, taken=dispatches, message=MESSAGE)


def state(run):
    run.reread()
    return run.state, run.reason


def test_the_run_that_had_begun_has_lost_an_execution():
    """C13: the run that the work-horse was executing is resumed at its task, and the loss is recorded."""
    run = claimed()

    assert release(begun=[run], taken=[run])

    assert state(run) == (RunState.PENDING, f"resuming: {MESSAGE}")
    assert [(e.name, e.state) for e in executions(run)] == [("one", "lost")]


def test_runs_that_had_not_begun_are_released():
    """Runs that were claimed in a batch and did not begin are pending, and have no lost execution."""
    begun, waiting = claimed(), claimed()

    assert release(begun=[begun], taken=[begun, waiting])

    assert state(waiting) == (RunState.PENDING, f"claimed in a batch and not begun; {MESSAGE}")
    assert executions(waiting) == []


def test_jobs_that_were_taken_and_not_claimed():
    """A run whose job was taken, and that is still queued, is pending: the relay enqueues it again."""
    run, later = queued(), queued(dispatch_no=2)

    is_recorded = release(taken=[run])

    assert not is_recorded
    assert (state(run)[0], state(later)[0]) == (RunState.PENDING, RunState.QUEUED)


def test_a_job_that_was_enqueued_again_meanwhile():
    """A run whose job is older than its last dispatch is left alone."""
    run = queued()
    FeatureRun.objects.update(dispatch_no=2)

    release(taken=[run])

    assert state(run)[0] == RunState.QUEUED


def test_the_runs_of_other_workers_are_left_alone():
    """A run that another worker has claimed since is not released, and no loss is recorded."""
    run = claimed("w2")

    assert not release("w1", begun=[run], taken=[run])

    assert state(run)[0] == RunState.RUNNING


def test_a_loss_is_tried_again(monkeypatch):
    """If the last COMMIT of the dead work-horse is still running, the loss is recorded after it."""
    answers = [False, True]
    monkeypatch.setattr(module, "record_loss", lambda run, message, *, only_if_expired: answers.pop(0))

    assert release(begun=[claimed()])

    assert answers == []


def test_a_database_that_is_down(monkeypatch, caplog):
    """An error of the database is logged and does not end the worker."""

    def fail(run, message, *, only_if_expired):
        raise OperationalError("down")

    monkeypatch.setattr(module, "record_loss", fail)

    assert not release(begun=[claimed()])

    assert messages(caplog, logging.ERROR) == [
        "loss not recorded worker=w1; the relay will recover the runs when their leases expire"
    ]


def test_a_run_that_is_gone():
    """A job whose run was deleted changes nothing."""
    assert not release_lost_runs("w1", begun={uuid4()}, taken=[(uuid4(), 1)], message=MESSAGE)
