"""The checks of the worker: its class and its queues."""

import pytest
from rq import SimpleWorker

from numflow_django.checks.workers import check_worker_queues
from tests.support.sites import Site


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path).write({"urls.py": "urlpatterns = []", "shop/models.py": ""})


SETTING = 'Set RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}.'
STOCK = (
    "numflow.W201",
    "RQ's own worker leaves the relay to chance and runs any function that a message names.",
    f"{SETTING} Or run manage.py numflow_relay beside the workers.",
)


def test_a_site_without_the_feature_worker_is_warned(errors, settings):
    """Settings that leave RQ's own worker in place are a warning that shows the setting and the other way."""
    settings.RQ = {}

    assert errors() == [STOCK]


def test_a_serializer_without_the_feature_worker_is_a_warning(errors, settings):
    """A SERIALIZER that RQ's own worker would ignore is a warning that names the queues."""
    settings.RQ = {}
    settings.RQ_QUEUES = {"default": {"SERIALIZER": "json"}, "mail": {}, "bulk": {"SERIALIZER": "json"}}

    message = "RQ_QUEUES sets SERIALIZER for bulk, default, and rqworker ignores it: every job would fail."
    assert errors() == [("numflow.W202", message, f"{SETTING} Or start it with --serializer."), STOCK]


@pytest.mark.parametrize("worker", ["numflow_django.worker.FeatureWorker", "rq.SimpleWorker", SimpleWorker])
def test_a_site_with_a_worker_class_is_not_warned(errors, settings, worker):
    """Settings that name a worker class, ours or one in the site's own care, are no warning."""
    settings.RQ = {"WORKER_CLASS": worker}
    settings.RQ_QUEUES = {"default": {"SERIALIZER": "json"}}

    assert errors() == []


OURS = "Did you mean 'numflow_django.worker.FeatureWorker'?"
ANY = "Set it to 'numflow_django.worker.FeatureWorker', or to a class of yours."


@pytest.mark.parametrize(
    ("worker", "problem", "hint"),
    [
        (
            "numflow_django.workers.FeatureWorker",
            "cannot be imported: ModuleNotFoundError: No module named 'numflow_django.workers'",
            OURS,
        ),
        ("numflow_django.worker.feature_worker.FeatureWorkers", "cannot be imported: ImportError: Module ", OURS),
        ("FeatureWorker", "cannot be imported: ImportError: FeatureWorker doesn't look like a module path", OURS),
        ("tests.no_such_module.Worker", "cannot be imported: ModuleNotFoundError: No module named ", ANY),
        ("django.db.models.Model", "is not a worker class", ANY),
        ("", "cannot be imported: ImportError: ", ANY),
        (None, "is None", ANY),
        (5, "is not a worker class", ANY),
    ],
    ids=str,
)
def test_a_worker_class_that_is_none_is_an_error(errors, settings, worker, problem, hint):
    """A worker class of the settings that cannot be imported, or is none, is an error with what was meant."""
    settings.RQ = {"WORKER_CLASS": worker}

    [(code, message, remedy)] = errors()

    assert code == "numflow.E005"
    assert message.startswith(f'RQ["WORKER_CLASS"] = {worker!r} {problem}')
    assert remedy == hint


def test_our_worker_class_is_not_imported(site):
    """The checks do not import our own worker class, whose import would make each command slower."""
    program = "from django.core.management import call_command; call_command('check'); import sys; "
    shown = site.python("-c", f"import django; django.setup(); {program}print('numflow_django.worker' in sys.modules)")

    assert shown.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("command", ["rqworker", "rqworker-pool"])
def test_a_worker_of_several_queues_is_warned_of(monkeypatch, command):
    """For a worker of several queues, the warning asks for a worker for each queue."""
    monkeypatch.setattr("sys.argv", ["manage.py", command, "default", "mail", "--burst"])

    (warning,) = check_worker_queues(None)

    assert warning.id == "numflow.W203"
    assert warning.msg == "This worker would listen on 2 queues: default, mail."
    assert "start a worker for each queue" in warning.hint


@pytest.mark.parametrize("argv", [["rqworker", "default"], ["check", "default", "mail"], []])
def test_other_commands_are_not(monkeypatch, argv):
    """A worker of one queue, or another command, is fine."""
    monkeypatch.setattr("sys.argv", ["manage.py", *argv])

    assert list(check_worker_queues(None)) == []
