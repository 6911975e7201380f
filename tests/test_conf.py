"""``NUMFLOW`` as typed properties with defaults, read at each use."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from numflow_django.conf import DEFAULT_REDACT, KEYS, conf

DEFAULTS = {
    "QUEUE": "default",
    "FEATURES": None,
    "TASK_TIMEOUT": 300.0,
    "TASK_MAX_ATTEMPTS": 1,
    "TASK_MAX_CRASHES": 3,
    "RELAY_SECONDS": 10.0,
    "LEASE_SECONDS": 60,
    "CONTEXT_MAX_BYTES": 262_144,
    "REDACT": DEFAULT_REDACT,
    "LOG_ROLLBACKS": "errors",
    "TRACE": False,
}


@pytest.mark.parametrize(("key", "default"), DEFAULTS.items(), ids=DEFAULTS)
@pytest.mark.parametrize("given", [True, False], ids=["empty dict", "no dict"])
def test_every_key_is_optional(settings, key, default, given):
    """A site that sets nothing, or has no NUMFLOW at all, gets the defaults."""
    settings.NUMFLOW = {}
    if not given:
        del settings.NUMFLOW

    value = getattr(conf, key)

    assert value == default
    assert type(value) is type(default)


def test_every_key_has_its_default():
    """Each key of NUMFLOW has a default, which the test above checks."""
    assert set(KEYS) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("QUEUE", "mail", "mail"),
        ("FEATURES", ["shop.features"], ["shop.features"]),
        ("TASK_TIMEOUT", 5, 5.0),
        ("TASK_TIMEOUT", 0.5, 0.5),
        ("LEASE_SECONDS", 30.0, 30),
        ("CONTEXT_MAX_BYTES", 1_000, 1_000),
        ("REDACT", ["pin"], ("pin",)),
        ("REDACT", [], ()),
        ("LOG_ROLLBACKS", None, None),
        ("LOG_ROLLBACKS", "all", "all"),
    ],
)
def test_a_setting_is_read_when_it_is_used(key, given, value):
    """``override_settings`` takes effect at once and ends at once; each number has one type."""
    before = getattr(conf, key)

    with override_settings(NUMFLOW={key: given}):
        assert getattr(conf, key) == value
        assert type(getattr(conf, key)) is type(value)

    assert getattr(conf, key) == before


def test_the_settings_of_others_are_read_here_too(settings):
    """Settings of Django and django-rq are read through the same object, also if they are not set."""
    assert "mail" in conf.queues
    assert {"default", "other"} <= set(conf.databases)
    assert conf.root_urlconf == "tests.urls"
    assert conf.append_slash
    assert conf.has_csrf_middleware
    assert not conf.has_login_middleware

    del settings.RQ_QUEUES
    del settings.ROOT_URLCONF
    settings.APPEND_SLASH = False
    settings.MIDDLEWARE = ["django.contrib.auth.middleware.LoginRequiredMiddleware"]

    assert conf.queues == {}
    assert conf.root_urlconf is None
    assert not conf.append_slash
    assert not conf.has_csrf_middleware
    assert conf.has_login_middleware


@pytest.mark.parametrize("value", [None, [], "mail"], ids=str)
def test_settings_that_are_no_dict_say_so(settings, value):
    """A NUMFLOW that is not a dict raises an error that shows a dict, not an AttributeError."""
    settings.NUMFLOW = value

    with pytest.raises(ImproperlyConfigured, match=r'NUMFLOW = .* is not a dict; write NUMFLOW = {"QUEUE": "default"}'):
        _ = conf.QUEUE
