"""The outcome of one execution of a task."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..discovery.modules import Module
from ..discovery.policy import MAX_REQUEST_ATTEMPTS, Retry, TaskPolicy
from .task import error_fields


class RetryAsked(Exception):
    """An atomic task returned a Retry. Its transaction must be rolled back, or its work would be done twice."""


@dataclass(kw_only=True)
class Outcome:
    """The result of one execution of a task."""

    task: Module
    policy: TaskPolicy
    number: int  # of this execution of the task, from 1; the task log calls it "attempt"
    not_counted: int  # executions before the run was last resumed, which the policy does not count
    started_at: datetime
    context: str | None = None  # the frozen context, if the task changed it
    result: Any = None  # JSON
    retry: Retry | None = None  # what the task returned to be run again
    error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Return whether this execution failed. One that returned a Retry counts as failed."""
        return self.error is not None or self.retry is not None

    def wait(self) -> float | None:
        """Return the seconds until the task is retried, or None if this was its last execution."""
        counted = self.number - self.not_counted
        if self.error is not None:
            return self.policy.wait_after(self.error, counted)
        if self.retry is None:
            return None
        limit = self.retry.max_attempts or max(self.policy.attempts, MAX_REQUEST_ATTEMPTS)
        return self.retry.delay if counted < limit else None

    def fields(self) -> dict[str, Any]:
        """Return the fields of this outcome for the task log."""
        if self.error is not None:
            return error_fields(self.error)
        if self.retry is not None:
            return {"error_type": "Retry", "error_message": f"the task asked to be run again: {self.retry!r}"}
        return {"result": self.result}
