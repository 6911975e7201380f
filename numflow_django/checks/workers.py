"""System checks of the worker: its class, and the queues of this command."""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name
from django.utils.module_loading import import_string

from ..conf import conf

#: The worker class that the settings should name.
FEATURE_WORKER = "numflow_django.worker.FeatureWorker"


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


def _problem_of_worker_class(name: Any) -> str:
    """Return why *name*, a class or its dotted path, cannot be the worker class; "" if it can."""
    if name is None:
        return "is None"
    try:
        worker = import_string(name) if isinstance(name, str) else name
    except Exception as error:  # noqa: BLE001 - the site's module may raise anything; the message quotes it
        return f"cannot be imported: {type(error).__name__}: {error}"
    return "" if callable(getattr(worker, "work", None)) else "is not a worker class"
