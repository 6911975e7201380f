"""The checks of the settings: what is wrong in NUMFLOW, and which setting nothing reads."""

import pytest

from numflow_django.checks import settings as setting_checks
from numflow_django.conf import KEYS
from numflow_django.embedded import rq_queues


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
    """A queue that is not a str is an error of its type, besides being unknown."""
    assert sorted(code for code, _, _ in errors(QUEUE=5)) == ["numflow.E002", "numflow.E003"]


def test_every_key_is_checked():
    """No key of NUMFLOW is without a check of its value."""
    assert set(setting_checks.GOOD_VALUES) == set(KEYS)


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
    """Without RQ_QUEUES, the error says that there is none."""
    settings.RQ_QUEUES = {}

    [(code, message, _)] = errors()

    assert (code, message) == ("numflow.E003", "The queue 'default' is not in RQ_QUEUES (there is none).")


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


def test_a_site_without_django_rq_is_an_error(errors, settings):
    """If django_rq is not installed, the error says that there is no worker to start."""
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
    """The result of rq_queues() is recognised as the embedded broker, also with its socket in a temporary directory."""
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
