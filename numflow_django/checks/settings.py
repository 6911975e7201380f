"""System checks of the settings: one small function for each id, each with a hint."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from ..conf import KEYS, conf
from ..text.suggestions import MISSPELT_NAME, PROBABLE_NAME, closest, one_of


@register("numflow")
def check_setting_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E001: ``NUMFLOW`` holds an unknown key."""
    for key in conf.values:
        if key not in KEYS:
            remedy = one_of(key, KEYS)
            hint = remedy[0].upper() + remedy[1:] + "." * (not remedy.endswith("?"))
            yield Error(f"NUMFLOW has the unknown key {key!r}.", hint=hint, id="numflow.E001")


@register("numflow")
def check_similar_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W209: a setting has nearly the name of one of ours, so nothing reads it."""
    for name, key in _similar_settings().items():
        hint = (
            f'Write NUMFLOW = {{"{key}": ...}}.' if key else "Did you mean NUMFLOW = {...}? Each of its keys is ours."
        )
        yield Warning(f"Nothing reads the setting {name}.", hint=hint, id="numflow.W209")


@register("numflow")
def check_setting_values(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E002: a value of ``NUMFLOW`` is of the wrong type or out of range."""
    for key, (is_good, wanted) in GOOD_VALUES.items():
        if key in conf.values and not is_good(conf.values[key]):
            yield Error(f"NUMFLOW[{key!r}] is {conf.values[key]!r}.", hint=f"It must be {wanted}.", id="numflow.E002")


@register("numflow")
def check_default_queue(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E003: the default queue is not one of ``RQ_QUEUES``."""
    if conf.QUEUE not in conf.queues:
        known = ", ".join(sorted(conf.queues)) or "there is none"
        yield Error(
            f"The queue {conf.QUEUE!r} is not in RQ_QUEUES ({known}).",
            hint='Add it to RQ_QUEUES, or name another one in NUMFLOW["QUEUE"].',
            id="numflow.E003",
        )


@register("numflow")
def check_django_rq(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E004: django-rq is not installed as an app, so there is no worker to start."""
    if not apps.is_installed("django_rq"):
        yield Error(
            "django_rq is not in INSTALLED_APPS, so that manage.py has no rqworker.",
            hint='Add "django_rq" to INSTALLED_APPS, beside "numflow_django".',
            id="numflow.E004",
        )


@register("numflow")
def check_embedded(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W208: the broker for development is used without DEBUG."""
    # manage.py test turns DEBUG off
    if conf.embedded_queues and not conf.debug and sys.argv[1:2] != ["test"]:
        yield Warning(
            f"DEBUG is off, and RQ_QUEUES uses the embedded broker: {', '.join(conf.embedded_queues)}.",
            hint="It ends with the last process that uses it. Start a Redis of its own, and set REDIS_URL.",
            id="numflow.W208",
        )


def _similar_settings() -> dict[str, str | None]:
    """Return the settings that look like ``NUMFLOW`` but are not read, each with our key that it is like."""
    names = [name for name in conf.all_names if name != "NUMFLOW"]
    meant = {name: _meant_key(name) for name in names}
    similar = [name for name in names if closest(name, ["NUMFLOW"], MISSPELT_NAME)]
    prefixed = [
        name for name in names if name.startswith(("NUMFLOW_", "NUM_FLOW")) and _is_for_us(name, key=meant[name])
    ]
    return {name: meant[name] for name in sorted({*similar, *prefixed})}


def _is_for_us(name: str, *, key: str | None) -> bool:
    """Return whether the setting *name* looks like a key or dict of ours and is not used as a value in NUMFLOW."""
    value = conf.value_of(name)
    is_used = any(value == used for used in conf.values.values())  # NUMFLOW = {"QUEUE": NUMFLOW_QUEUE}
    return not is_used and (isinstance(value, Mapping) or key is not None)


def _meant_key(name: str) -> str | None:
    """Return the key of ours that the setting *name* looks like, or None."""
    key = name.removeprefix("NUMFLOW_").removeprefix("NUM_FLOW_")
    return closest(key, KEYS, PROBABLE_NAME) if key != name else None


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0


def _is_one_or_more(value: Any) -> bool:
    return _is_positive(value) and value >= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and _is_positive(value)


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value)


#: Each key of NUMFLOW -> whether a value of it is good, and what it must be.
GOOD_VALUES: dict[str, tuple[Any, str]] = {
    "QUEUE": (lambda value: isinstance(value, str), "the name of a queue in RQ_QUEUES"),
    "FEATURES": (lambda value: value is None or _is_names(value), "a list of dotted packages, or None"),
    "TASK_TIMEOUT": (_is_positive, "a positive number of seconds"),
    "TASK_MAX_ATTEMPTS": (_is_count, "a whole number, at least 1"),
    "TASK_MAX_CRASHES": (
        lambda value: value is not False and (value == 0 or _is_count(value)),
        "a whole number, at least 0",
    ),
    "RELAY_SECONDS": (_is_one_or_more, "a number of seconds, at least 1"),
    "LEASE_SECONDS": (_is_one_or_more, "a number of seconds, at least 1"),
    "CONTEXT_MAX_BYTES": (_is_one_or_more, "a number of bytes, at least 1"),
    "REDACT": (_is_names, "a list of words"),
    "LOG_ROLLBACKS": (lambda value: value in ("errors", "all", None), '"errors", "all" or None'),
    "TRACE": (lambda value: value in (True, False, None), "True, False, or None: as DEBUG"),
}
