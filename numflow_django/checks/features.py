"""System checks of the settings and the features: one small function for each id, each with a hint."""

import re
import sys
from collections.abc import Iterator, Sequence
from inspect import getdoc
from math import isfinite
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name
from django.utils.module_loading import import_string

from ..conf import KEYS, conf
from ..discovery.registry import load_routes, registry
from ..routing.orphans import features_beside
from ..routing.scan import feature_packages
from ..routing.urlconf import places
from ..text.suggestions import listed, one_of

#: The worker class that the settings should name.
FEATURE_WORKER = "numflow_django.worker.FeatureWorker"


@register("numflow")
def check_features(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E101 to E113: all mistakes in the features' folders, at once; each error class holds its hint."""
    load_routes()  # registers the features that the URLconf routes by hand
    for mistake in registry.mistakes:
        yield Error(str(mistake), hint=" ".join((getdoc(type(mistake)) or "").split()), id=mistake.code)


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
    for name, key in conf.similar_settings.items():
        hint = (
            f'Write NUMFLOW = {{"{key}": ...}}.' if key else "Did you mean NUMFLOW = {...}? Each of its keys is ours."
        )
        yield Warning(f"Nothing reads the setting {name}.", hint=hint, id="numflow.W209")


@register("numflow")
def check_setting_values(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E002: a value of ``NUMFLOW`` is of the wrong type or out of range."""
    for key, (is_good, wanted) in _GOOD_VALUES.items():
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
def check_worker_class(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W201 and W202: the settings do not use FeatureWorker."""
    if conf.uses_feature_worker:
        return
    hint = f'Set RQ = {{"WORKER_CLASS": "{FEATURE_WORKER}"}}.'
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
def check_worker_class_import(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E005: the worker class of the settings cannot be imported, or is not a worker class."""
    name = conf.worker_class
    # Do not import ours: that takes as long as Django's own start
    if not conf.uses_feature_worker or name == FEATURE_WORKER:
        return
    problem = _problem_of_worker_class(name)
    if problem:
        is_ours = re.search("numflow|feature_?worker", str(name), re.IGNORECASE)
        other = f"Set it to {FEATURE_WORKER!r}, or to a class of yours."
        hint = f"Did you mean {FEATURE_WORKER!r}?" if is_ours else other
        yield Error(f'RQ["WORKER_CLASS"] = {name!r} {problem}.', hint=hint, id="numflow.E005")


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


@register("numflow")
def check_features_beside(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.E006: a package of features is empty, but there are features in a folder beside it."""
    load_routes()
    known = [*registry.scanned, *(feature.package for feature in registry)]
    for package in (package for package, labels in registry.scanned.items() if not labels):
        folder, beside = features_beside(package, known)
        if beside:
            yield Error(
                f"{folder} holds no feature, and beside it are {listed([str(each) for each in beside])}.",
                hint=f"Move {listed([each.name for each in beside])} into {folder}.",
                id="numflow.E006",
            )


@register("numflow")
def check_routed(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W205: no URL reaches some features."""
    routed = {view.feature.label for place in places() for view in place.views}
    # A feature with a mistake may have no URL because of that mistake
    for package in feature_packages() if conf.root_urlconf and not registry.mistakes else ():
        missing = [label for label in registry.scanned.get(package, ()) if label not in routed]
        if missing:
            what = f"{len(missing)} features" if len(missing) > 1 else "A feature"
            yield Warning(
                f"{what} of {package} cannot be reached by any URL: {listed(missing)}.",
                hint=f'Add path("", include(feature_urls("{package}"))) to urlpatterns in {conf.root_urlconf}.',
                id="numflow.W205",
            )


@register("numflow")
def check_hidden(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W206: another view answers at the URL of a feature."""
    for place in places():
        rival = place.rival
        if rival:
            yield Warning(
                f"{listed([view.feature.label for view in place.views])} cannot be reached: /{place.route} is "
                f"answered by {rival}, which comes first in the URLconf.",
                hint="Move its include() before the other route, give it a prefix, or change one of the paths.",
                id="numflow.W206",
            )


@register("numflow")
def check_atomic_requests(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W207: ATOMIC_REQUESTS commits another database after the feature's tasks were enqueued."""
    for place in places():
        exempt = getattr(place.callback, "_non_atomic_requests", ())
        for feature in (view.feature for view in place.views if view.feature.tasks):
            for alias in (alias for alias in conf.atomic_requests if alias != feature.using and alias not in exempt):
                yield Warning(
                    f"feature {feature.label}: its async tasks may start before {alias!r} is committed: its "
                    f"transaction is on {feature.using!r}, and ATOMIC_REQUESTS puts one on {alias!r} around it.",
                    hint=f"Add transaction.non_atomic_requests(using={alias!r}) to its decorators.",
                    id="numflow.W207",
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


def _problem_of_worker_class(name: Any) -> str:
    """Return why *name*, a class or its dotted path, cannot be the worker class; "" if it can."""
    if name is None:
        return "is None"
    try:
        worker = import_string(name) if isinstance(name, str) else name
    except Exception as error:  # noqa: BLE001 - the site's module may raise anything; the message quotes it
        return f"cannot be imported: {type(error).__name__}: {error}"
    return "" if callable(getattr(worker, "work", None)) else "is no worker class"


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
    "TRACE": (lambda value: value in (True, False, None), "True, False, or None: as DEBUG"),
}
