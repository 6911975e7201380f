"""The system checks: each mistake with its id and its hint."""

from inspect import getdoc

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from rq import SimpleWorker

from numflow_django import exceptions
from numflow_django.checks import features as checks
from numflow_django.conf import KEYS
from numflow_django.discovery.registry import load_routes, registry
from numflow_django.embedded import rq_queues
from numflow_django.exceptions import FeatureConfigurationError
from numflow_django.routing.scan import scan
from tests.support.sites import Site

STEP = "def answer(ctx, request, response): response.json({})\n"


@pytest.fixture
def errors(settings):
    """The errors of the checks with the given NUMFLOW, as (id, message, hint)."""

    def check(**values):
        settings.NUMFLOW = values
        return [(error.id, error.msg, error.hint) for error in run_checks(tags=["numflow"])]

    return check


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path).write({"urls.py": "urlpatterns = []", "shop/models.py": ""})


def test_good_settings_and_features_pass(errors):
    """A4: Where nothing is wrong, the checks say nothing."""
    assert errors(QUEUE="mail", FEATURES=["tests.market.features"], TASK_TIMEOUT=0.5, LEASE_SECONDS=60) == []
    assert errors(CONTEXT_MAX_BYTES=1, REDACT=("pin", "비밀번호"), LOG_ROLLBACKS=None) == []
    assert errors(TASK_MAX_ATTEMPTS=1, TASK_MAX_CRASHES=0, RELAY_SECONDS=1.5) == []
    assert errors(REDACT=[], FEATURES=None, LOG_ROLLBACKS="all", LEASE_SECONDS=1.5) == []


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("TASK_TIMEOUTS", "Did you mean 'TASK_TIMEOUT'?"),
        ("task_timeout", "Did you mean 'TASK_TIMEOUT'?"),
        ("REDACTED", "Did you mean 'REDACT'?"),
        ("LOG_ROLBACKS", "Did you mean 'LOG_ROLLBACKS'?"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_one_that_was_meant(errors, key, hint):
    """A key of NUMFLOW that means nothing is an error with a did-you-mean."""
    assert errors(**{key: 1}) == [("numflow.E001", f"NUMFLOW has the unknown key {key!r}.", hint)]


def test_an_unknown_key_that_resembles_none_lists_the_keys(errors):
    """A key that resembles none is an error that lists all keys."""
    [(code, message, hint)] = errors(XYZ=1)

    assert (code, message) == ("numflow.E001", "NUMFLOW has the unknown key 'XYZ'.")
    assert hint.startswith("Use one of QUEUE, FEATURES, ")


SECONDS = "It must be a positive number of seconds."
ONE_SECOND = "It must be a number of seconds, at least 1."
COUNT = "It must be a whole number, at least 1."
CRASHES = "It must be a whole number, at least 0."
BYTES = "It must be a number of bytes, at least 1."
PACKAGES = "It must be a list of dotted packages, or None."
WORDS = "It must be a list of words."
MODES = 'It must be "errors", "all" or None.'


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("FEATURES", "shop.features", PACKAGES),
        ("FEATURES", [1], PACKAGES),
        ("TASK_TIMEOUT", 0, SECONDS),
        ("TASK_TIMEOUT", -1, SECONDS),
        ("TASK_TIMEOUT", "30", SECONDS),
        ("TASK_TIMEOUT", None, SECONDS),
        ("TASK_TIMEOUT", True, SECONDS),
        ("TASK_TIMEOUT", float("inf"), SECONDS),
        ("TASK_TIMEOUT", float("nan"), SECONDS),
        ("LEASE_SECONDS", 0.5, ONE_SECOND),
        ("LEASE_SECONDS", "60", ONE_SECOND),
        ("TASK_MAX_ATTEMPTS", 0, COUNT),
        ("TASK_MAX_ATTEMPTS", 1.5, COUNT),
        ("TASK_MAX_ATTEMPTS", True, COUNT),
        ("TASK_MAX_CRASHES", -1, CRASHES),
        ("TASK_MAX_CRASHES", False, CRASHES),
        ("RELAY_SECONDS", 0, ONE_SECOND),
        ("RELAY_SECONDS", "10", ONE_SECOND),
        ("CONTEXT_MAX_BYTES", 0, BYTES),
        ("CONTEXT_MAX_BYTES", "1MB", BYTES),
        ("REDACT", "password", WORDS),
        ("REDACT", ["password", 1], WORDS),
        ("REDACT", [""], WORDS),
        ("LOG_ROLLBACKS", True, MODES),
        ("LOG_ROLLBACKS", "ERRORS", MODES),
        ("LOG_ROLLBACKS", [], MODES),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_an_error(errors, key, value, hint):
    """A value of NUMFLOW that cannot be is an error that shows it and says what it must be."""
    assert errors(**{key: value}) == [("numflow.E002", f"NUMFLOW[{key!r}] is {value!r}.", hint)]


def test_a_queue_that_is_no_name_is_an_error(errors):
    """A queue that is no str is an error of its type, besides being unknown."""
    assert sorted(code for code, _, _ in errors(QUEUE=5)) == ["numflow.E002", "numflow.E003"]


def test_every_key_is_checked():
    """No key of NUMFLOW is without a check of its value."""
    assert set(checks._GOOD_VALUES) == set(KEYS)


def test_a_default_queue_that_is_not_django_rq_s_is_an_error(errors):
    """A default queue that RQ_QUEUES does not have is an error that lists those it has."""
    assert errors(QUEUE="mails") == [
        (
            "numflow.E003",
            "The queue 'mails' is not in RQ_QUEUES (default, mail).",
            'Add it to RQ_QUEUES, or name another one in NUMFLOW["QUEUE"].',
        )
    ]


def test_no_queues_at_all_is_an_error(errors, settings):
    """A site without RQ_QUEUES is told that there is none."""
    settings.RQ_QUEUES = {}

    [(code, message, _)] = errors()

    assert (code, message) == ("numflow.E003", "The queue 'default' is not in RQ_QUEUES (there is none).")


def test_all_mistakes_in_the_features_show_at_once(tree, errors):
    """A4: Each mistake in the features is one check error with its id, its message and its class's remedy."""
    tree.feature("a", steps={"100_answer.py": STEP, "wrong.py": ""}, queue="x")
    tree.feature("b", steps={"100_answer.py": "1 / 0", "100_other.py": ""})
    tree.feature("c", steps={"100_answer.py": "def answer(request): pass"})
    mistakes = tree.mistakes()

    found = errors()

    assert [message for _, message, _ in found] == mistakes
    assert sorted(code for code, _, _ in found) == [f"numflow.E10{number}" for number in (2, 3, 5, 6, 7, 9)]
    hints = {code: hint for code, _, hint in found}
    assert hints["numflow.E102"] == getdoc(exceptions.InvalidModuleName)
    assert "cannot get. A step takes ``(ctx)``" in hints["numflow.E106"]


@pytest.mark.django_db(databases=["default", "other"])  # Django 6.1's own checks ask the databases
def test_the_command_fails_and_shows_them(tree, capsys):
    """A4: ``manage.py check`` fails with all mistakes of the features."""
    load_routes()  # before there are mistakes: a process that is no command raises them
    tree.feature("a", steps={"wrong.py": ""})
    tree.feature("b", steps={"100_answer.py": "1 / 0"})
    tree.mistakes()

    with pytest.raises(SystemCheckError) as caught:
        call_command("check")

    assert "(numflow.E102)" in str(caught.value)
    assert "(numflow.E107)" in str(caught.value)
    assert "System check identified 2 issues" in str(caught.value)


def test_features_that_are_routed_by_hand_are_checked(tree, errors, settings):
    """A4: The checks load the URLconf, and so show the mistakes of features that only that routes."""
    tree.feature("buy", steps={"wrong.py": ""})
    tree.write(
        {
            "urls.py": f"""
                from django.urls import path
                from {tree.package}.buy.feature import View
                urlpatterns = [path("buy/", View.as_view())]
            """
        }
    )
    settings.ROOT_URLCONF = f"{tree.package}.urls"

    assert [code for code, _, _ in errors(FEATURES=[])] == ["numflow.E102"]


def test_every_mistake_has_a_code_and_a_remedy():
    """Each class of mistakes has an id of its own and a docstring, which is the check's hint."""
    kinds = FeatureConfigurationError.__subclasses__()

    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(len(getdoc(kind)) > 40 for kind in kinds)
    assert registry.mistakes == []


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
        ("django.db.models.Model", "is no worker class", ANY),
        ("", "cannot be imported: ImportError: ", ANY),
        (None, "is None", ANY),
        (5, "is no worker class", ANY),
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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("NUMFLW", "Did you mean NUMFLOW = {...}? Each of its keys is ours."),
        ("NUMFLOWS", "Did you mean NUMFLOW = {...}? Each of its keys is ours."),
        ("NUMFLOW_DJANGO", "Did you mean NUMFLOW = {...}? Each of its keys is ours."),
        ("NUMFLOW_QUEUE", 'Write NUMFLOW = {"QUEUE": ...}.'),
        ("NUMFLOW_TASK_TIMEOUTS", 'Write NUMFLOW = {"TASK_TIMEOUT": ...}.'),
    ],
)
def test_a_setting_that_nothing_reads_is_a_warning(errors, settings, name, hint):
    """A setting whose name is nearly ours, or begins with it, is a warning that shows how to write it."""
    setattr(settings, name, {"QUEUE": "mail"})

    assert errors() == [("numflow.W209", f"Nothing reads the setting {name}.", hint)]


@pytest.mark.parametrize("name", ["WORKFLOW", "NUMBERS", "FLOW", "INFLOW"])
def test_a_setting_of_the_sites_own_is_none_of_ours(errors, settings, name):
    """A setting whose name resembles ours only a little is the site's own."""
    setattr(settings, name, 1)

    assert errors() == []


@pytest.mark.parametrize(("name", "value"), [("NUMFLOW_QUEUE", "mail"), ("NUMFLOW_REDIS_URL", "redis://redis/1")])
def test_a_setting_that_the_settings_themselves_use_is_none_of_ours(errors, settings, name, value):
    """A setting that begins with our name and is a value of NUMFLOW, or no key of it, is the site's own."""
    setattr(settings, name, value)
    settings.RQ_QUEUES = {"default": {}, "mail": {}}

    assert errors(QUEUE=getattr(settings, "NUMFLOW_QUEUE", "default")) == []


def test_features_beside_their_empty_package_are_an_error(tree, errors, settings):
    """An empty package of features is an error if features lie beside it: one level too high."""
    tree.write({"features/__init__.py": "", "buy/feature.py": "", "api/orders/@post/steps/100_answer.py": STEP})
    scan(f"{tree.package}.features")

    assert errors(FEATURES=[f"{tree.package}.features"]) == [
        (
            "numflow.E006",
            f"{tree.root}/features holds no feature, and beside it are {tree.root}/api, {tree.root}/buy.",
            f"Move api, buy into {tree.root}/features.",
        )
    ]


def test_features_that_are_found_elsewhere_lie_beside_nothing(tree, errors):
    """An empty package is fine where the features beside it are found by another name, or routed by hand."""
    tree.write({"features/__init__.py": "", "api/orders/@post/steps/100_answer.py": STEP})
    tree.feature("buy", steps={"100_answer.py": STEP})
    tree.view("buy").as_view()
    scan(f"{tree.package}.features")
    scan(f"{tree.package}.api")

    assert errors(FEATURES=[]) == []


@pytest.mark.parametrize("command", ["rqworker", "rqworker-pool"])
def test_a_worker_of_several_queues_is_warned_of(monkeypatch, command):
    """A worker that would listen on several queues is told to have company instead."""
    monkeypatch.setattr("sys.argv", ["manage.py", command, "default", "mail", "--burst"])

    (warning,) = checks.check_worker_queues(None)

    assert warning.id == "numflow.W203"
    assert warning.msg == "This worker would listen on 2 queues: default, mail."
    assert "start a worker for each queue" in warning.hint


@pytest.mark.parametrize("argv", [["rqworker", "default"], ["check", "default", "mail"], []])
def test_other_commands_are_not(monkeypatch, argv):
    """A worker of one queue, or another command, is fine."""
    monkeypatch.setattr("sys.argv", ["manage.py", *argv])

    assert list(checks.check_worker_queues(None)) == []


def test_a_site_without_django_rq_is_an_error(errors, settings):
    """A site that does not install django_rq is told that it has no worker to start."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_rq"]

    assert errors() == [
        (
            "numflow.E004",
            "django_rq is not in INSTALLED_APPS, so that manage.py has no rqworker.",
            'Add "django_rq" to INSTALLED_APPS, beside "numflow_django".',
        )
    ]


QUEUES = {"default": {"UNIX_SOCKET_PATH": "/srv/shop/.demo/broker/broker.sock", "DB": 0}, "mail": {"HOST": "redis"}}


def test_an_embedded_broker_in_production_is_a_warning(errors, settings):
    """The embedded broker with DEBUG off is a warning that names the queues."""
    settings.RQ_QUEUES = QUEUES

    assert errors() == [
        (
            "numflow.W208",
            "DEBUG is off, and RQ_QUEUES uses the embedded broker: default.",
            "It ends with the last process that uses it. Start a Redis of its own, and set REDIS_URL.",
        )
    ]


def test_the_settings_of_the_embedded_broker_are_known_as_such(errors, settings, tmp_path, monkeypatch):
    """What rq_queues() gives is taken for the embedded broker, also where its socket is in a temporary directory."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings.RQ_QUEUES = {**rq_queues(tmp_path), **rq_queues(tmp_path / ("x" * 100), "far")}

    [(code, message, _)] = errors()

    assert code == "numflow.W208"
    assert message.endswith(": default, far.")


@pytest.mark.parametrize(("debug", "command"), [(True, "check"), (False, "test")])
def test_an_embedded_broker_is_fine_for_development(errors, settings, monkeypatch, debug, command):
    """With DEBUG, and in ``manage.py test``, which turns it off, the embedded broker is no warning."""
    settings.RQ_QUEUES, settings.DEBUG = QUEUES, debug
    monkeypatch.setattr("sys.argv", ["manage.py", command])

    assert errors() == []
