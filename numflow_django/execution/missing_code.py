"""Runs whose feature or next task is not in this worker's code, for example during a deploy."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from ..models import FeatureRun
from ..signals import UNKNOWN

#: How long a run waits for code that has its feature and tasks, for example during a deploy.
DEPLOY_PATIENCE = timedelta(minutes=15)
#: The advice for a run whose feature or task has been missing from every worker's code for that long.
PUT_BACK = "put it back, restart the workers, and resume the run"
#: Seconds until another worker may claim the run.
DEPLOY_RETRY = 30

_UNKNOWN_SINCE = re.compile(rf"{UNKNOWN}.* since (?P<since>\S+);")


def transition_without_code(run: FeatureRun, what: str) -> Callable[[], dict[str, Any]]:
    """Return the transition for a run whose *what* is missing: postpone it, or fail it after DEPLOY_PATIENCE."""
    known = _UNKNOWN_SINCE.match(run.reason)
    since = datetime.fromisoformat(known["since"]) if known else timezone.now()
    unknown, minutes = f"{UNKNOWN}{what}", DEPLOY_PATIENCE.seconds // 60
    if timezone.now() - since > DEPLOY_PATIENCE:
        reason = f"{unknown}: no worker's code has had it for {minutes} minutes; {PUT_BACK}"
        return lambda: run.fail(reason)
    advice = f"restart the workers if it is new; waiting for one whose code has it, {minutes} minutes at most"
    reason = f"{unknown} since {since.isoformat()}; {advice}"
    return lambda: run.postpone([], seconds=DEPLOY_RETRY, reason=reason)
