"""System checks: one small function for each id, each with a hint."""

import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from inspect import getdoc
from math import isfinite
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from .conf import KEYS, conf
from .registry import load_routes, registry


@register("numflow")
def check_features(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E101 to E112: the mistakes in the features' folders, all at once; each class tells its remedy."""
    load_routes()  # registers the features that are routed by hand
    for mistake in registry.mistakes:
        yield Error(str(mistake), hint=getdoc(type(mistake)), id=mistake.code)


@register("numflow")
def check_setting_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E001: ``NUMFLOW`` holds a key that means nothing."""
    for key in conf.values:
        if key not in KEYS:
            close = get_close_matches(str(key).upper(), KEYS, 1, 0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(KEYS)}."
            yield Error(f"NUMFLOW has the unknown key {key!r}.", hint=hint, id="numflow.E001")


@register("numflow")
def check_setting_values(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E002: a value of ``NUMFLOW`` is of the wrong type or out of range."""
    for key, (is_good, wanted) in _GOOD_VALUES.items():
        if key in conf.values and not is_good(conf.values[key]):
            yield Error(f"NUMFLOW[{key!r}] is {conf.values[key]!r}.", hint=f"It must be {wanted}.", id="numflow.E002")


@register("numflow")
def check_default_queue(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E003: the default queue is not one of django-rq's."""
    if conf.QUEUE not in conf.queues:
        known = ", ".join(sorted(conf.queues)) or "there is none"
        yield Error(
            f"The queue {conf.QUEUE!r} is not in RQ_QUEUES ({known}).",
            hint='Add it to RQ_QUEUES, or name another one in NUMFLOW["QUEUE"].',
            id="numflow.E003",
        )


@register("numflow")
def check_worker_class(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W201 and W202: the settings do not use FeatureWorker."""
    if conf.uses_feature_worker:
        return
    hint = 'Set RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}.'
    serialized = sorted(name for name, queue in conf.queues.items() if queue.get("SERIALIZER"))
    if serialized:
        yield Warning(
            f"RQ_QUEUES sets SERIALIZER for {', '.join(serialized)}, and rqworker ignores it: every job would fail.",
            hint=f"{hint} Or start it with --serializer.",
            id="numflow.W202",
        )
    yield Warning(
        "RQ's own worker leaves the relay to chance and runs any function that a message names.",
        hint=f"{hint} Or run manage.py numflow_relay beside the workers.",
        id="numflow.W201",
    )


@register("numflow")
def check_worker_queues(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W203: this command is a worker that would listen on several queues."""
    command, *names = sys.argv[1:] or [""]
    queues = [name for name in names if name in conf.queues]
    if command in {"rqworker", "rqworker-pool"} and len(queues) > 1:
        yield Warning(
            f"This worker would listen on {len(queues)} queues: {', '.join(queues)}.",
            hint="RQ takes jobs less safely then, and a lost one waits for the relay; start a worker for each queue.",
            id="numflow.W203",
        )


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0


def _is_one_or_more(value: Any) -> bool:
    return _is_positive(value) and value >= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and _is_positive(value)


def _is_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value)


_GOOD_VALUES: dict[str, tuple[Any, str]] = {
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
}
