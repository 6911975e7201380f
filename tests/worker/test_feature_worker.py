"""FeatureWorker: what it refuses at its start. Its work is tested in tests/e2e/test_worker.py."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError
from rq import Queue

from numflow_django.db.lengths import WORKER_LENGTH
from numflow_django.models import FeatureRun, TaskExecution
from numflow_django.worker import FeatureWorker
from tests.support.sites import ROOT


@pytest.mark.parametrize("name", [None, "", "night-1", "n" * WORKER_LENGTH])
def test_a_worker_has_the_name_that_it_is_given(server, name):
    """A name of up to 200 printable characters is kept; without one, RQ chooses one."""
    worker = FeatureWorker([Queue(connection=server)], connection=server, name=name)

    assert worker.name == name if name else len(worker.name) == 32


@pytest.mark.parametrize(
    ("name", "shown"),
    [("n" * 201, f"'{'n' * 37}...' has 201"), ("a\nb", r"'a\nb' has 3"), ("a\udcffb", r"'a\udcffb' has 3")],
    ids=["too long", "a line break", "bytes that are no text"],
)
def test_a_name_under_which_no_run_can_be_claimed_is_refused(name, shown):
    """A name that the database or the log cannot hold is refused at once; nothing connects to Redis before."""
    with pytest.raises(CommandError) as caught:
        FeatureWorker([], name=name)

    assert str(caught.value) == (
        f"The worker's name {shown} characters; choose a --name of at most 200, without line breaks and other "
        "characters that cannot be printed."
    )


def test_rqworker_prints_one_line():
    """``rqworker --name`` with such a name ends with the message, and with no traceback."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-m", "django", "rqworker", "default", "--name", "n" * 201],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "CommandError: The worker's name 'nnnn" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_columns_hold_the_name():
    """Both tables have room for the longest name."""
    for model in (FeatureRun, TaskExecution):
        assert model._meta.get_field("worker").max_length == WORKER_LENGTH
