"""One execution of the steps of a request."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponseBase

from ..models import FeatureRun
from ..outbox.record import StepLog


@dataclass
class Attempt:
    """One execution of the steps, with its result so far."""

    number: int  # from 1
    on_step: Callable[[dict[str, Any], HttpResponseBase | None], None]  # called after each step
    log: StepLog = field(default_factory=list)
    run: FeatureRun | None = None  # once its row is written
    committed: bool = False

    def note_step(self, entry: dict[str, Any], response: HttpResponseBase | None = None) -> None:
        """Add a step's log entry, and its response if it has one."""
        self.log.append(entry)
        self.on_step(entry, response)

    @property
    def failed_step(self) -> dict[str, Any] | None:
        """Return the log entry of the step that raised, if one did."""
        return self.log[-1] if self.log and "error" in self.log[-1] else None


class RollbackWithResponse(Exception):
    """Raised in the transaction to roll it back and respond. ``on_error`` is not called."""

    def __init__(self, make_response: Callable[[], HttpResponseBase]) -> None:
        self.make_response = make_response  # called after the rollback
