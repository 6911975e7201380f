"""The log lines and their form."""

import logging
import re
from uuid import UUID

import pytest
from redis.exceptions import RedisError

from numflow_django import signals
from numflow_django.models import FeatureRun, RunState, TaskExecution

ID = UUID("0193a0b1-0000-7000-8000-000000000001")


def run_row(**fields):
    return FeatureRun(id=ID, feature="market.buy", worker="w1", **fields)


def execution(**fields):
    return TaskExecution(name="mail", **fields)


LINES = {
    "run_started": (
        {"run": run_row(position=1)},
        logging.INFO,
        f"run started run={ID} feature=market.buy position=1 worker=w1",
    ),
    "run_succeeded": (
        {"run": run_row(state=RunState.SUCCEEDED)},
        logging.INFO,
        f"run succeeded run={ID} feature=market.buy reason=''",
    ),
    "run_failed": (
        {"run": run_row(state=RunState.FAILED, reason="1 of 3 tasks failed: mail")},
        logging.WARNING,
        f"run failed run={ID} feature=market.buy reason='1 of 3 tasks failed: mail'",
    ),
    "task_succeeded": (
        {"run": run_row(), "execution": execution()},
        logging.INFO,
        f"task succeeded run={ID} feature=market.buy task=mail",
    ),
    "task_skipped": (
        {"run": run_row(), "execution": execution()},
        logging.WARNING,
        f"task skipped run={ID} feature=market.buy task=mail",
    ),
    "task_failed": (
        {"run": run_row(), "execution": execution(attempt=2, error_type="ValueError"), "error": ValueError("no")},
        logging.ERROR,
        f"task failed run={ID} feature=market.buy task=mail attempt=2 error=ValueError",
    ),
    "task_retried": (
        {"run": run_row(), "execution": execution(attempt=2, error_type="ValueError"), "error": ValueError("no")},
        logging.WARNING,
        f"task retried run={ID} feature=market.buy task=mail attempt=2 error=ValueError",
    ),
    "task_lost": (
        {"run": run_row(), "execution": execution(attempt=2, worker="w1", error_message="its work-horse was killed")},
        logging.ERROR,
        f"task lost run={ID} feature=market.buy task=mail attempt=2 worker=w1: its work-horse was killed",
    ),
    "run_released": (
        {"run": run_row(state=RunState.WAITING, reason="mail starts later")},
        logging.INFO,
        f"run released run={ID} feature=market.buy state=waiting reason='mail starts later'",
    ),
    "run_released for want of code": (
        {
            "run": run_row(
                state=RunState.WAITING,
                reason="unknown task notify since 2026-01-01T00:00:00+00:00; restart the workers if it is new; "
                "waiting for one whose code has it, "
                "15 minutes at most",
                task_names=["mail", "notify"],
                position=1,
            )
        },
        logging.WARNING,
        f"run waits for code run={ID} feature=market.buy task=notify reason='unknown task notify since "
        "2026-01-01T00:00:00+00:00; restart the workers if it is new; "
        "waiting for one whose code has it, 15 minutes at most'; after that it fails",
    ),
    "run_cancelled": (
        {"run": run_row(position=1)},
        logging.INFO,
        f"run cancelled run={ID} feature=market.buy position=1",
    ),
    "dispatch_failed": (
        {"run_id": ID, "feature": "market.buy", "error": RedisError("refused")},
        logging.WARNING,
        f"dispatch failed run={ID} feature=market.buy error='RedisError: refused'; the run stays pending",
    ),
    "dispatch_failed with a hint": (
        {"run_id": ID, "feature": "market.buy", "error": RedisError("refused"), "hint": "Start Redis."},
        logging.WARNING,
        f"dispatch failed run={ID} feature=market.buy error='RedisError: refused' hint='Start Redis.'; "
        "the run stays pending",
    ),
    "request_rolled_back": (
        {"run": run_row(reason="RuntimeError: boom")},
        logging.INFO,
        f"request rolled back run={ID} feature=market.buy reason='RuntimeError: boom'",
    ),
}


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, logger="numflow_django")
    return caplog


@pytest.mark.parametrize("name", LINES)
def test_what_happens_is_logged(log, name):
    """Each event is one line for the logger "numflow_django": what happened, then key=value, run and feature first."""
    sent, level, line = LINES[name]

    getattr(signals, name.partition(" ")[0]).send_robust(sender=FeatureRun, **sent)

    assert log.record_tuples == [("numflow_django", level, line)]
    assert re.match(rf"[a-z ]+ run={ID} feature=market\.buy( [a-z]+=|$)", line)


def test_every_signal_is_logged_or_has_a_reason_not_to_be():
    """Every signal is logged, except for the start of a task, whose end is logged."""
    all_signals = {name for name, value in vars(signals).items() if isinstance(value, signals.Signal)}

    assert all_signals - LINES.keys() == {"task_started"}


def test_a_failed_task_is_logged_with_its_traceback(log):
    """A18: the line of a failed task carries the exception and where it was raised."""
    try:
        raise ValueError("no money")
    except ValueError as error:
        signals.task_failed.send_robust(
            sender=FeatureRun, run=run_row(), execution=execution(error_type="ValueError"), error=error
        )

    assert "test_signals.py" in log.text
    assert log.text.endswith("ValueError: no money\n")


def test_a_retry_that_a_task_asked_for_has_no_traceback(log):
    """The line of a task that returned a Retry carries no exception, because there was none."""
    signals.task_retried.send_robust(
        sender=FeatureRun, run=run_row(), execution=execution(error_type="Retry"), error=None
    )

    assert log.messages == [f"task retried run={ID} feature=market.buy task=mail attempt=1 error=Retry"]
    assert log.records[0].exc_info is None


def test_nothing_is_logged_twice(log):
    """Importing the module again, as a reloader does, connects no receiver a second time."""
    signals.run_started.connect(signals.log_run_started, dispatch_uid="numflow_django.log")

    signals.run_started.send_robust(sender=FeatureRun, run=run_row())

    assert len(log.records) == 1
