"""The columns of a run that each kind of state change writes."""

from typing import Any

from .clock import NOW
from .states import RunState


def ended(state: RunState) -> dict[str, Any]:
    """Return the columns of a run that ends in *state*."""
    return {"state": state, "finished_at": NOW, "lease_expires_at": None}


def cancelled() -> dict[str, Any]:
    """Return the columns of a run whose worker finds, after a task, that its cancellation was requested."""
    return ended(RunState.CANCELLED) | {"reason": "cancelled between two tasks"}


def released(state: RunState, reason: str) -> dict[str, Any]:
    """Return the columns of a run that no worker holds and that is in *state*."""
    return {"state": state, "reason": reason, "lease_expires_at": None, "queued_at": None}
