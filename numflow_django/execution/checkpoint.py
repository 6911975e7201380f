"""The checkpoint after a task: one commit of its execution and of the run's new state."""

from collections.abc import Set
from typing import Any, NamedTuple

from django.utils import timezone

from ..models import ExecutionState, FeatureRun, RunState, TaskExecution
from .outcome import Outcome
from .recovery import skipped


class Checkpoint(NamedTuple):
    """What a checkpoint has written."""

    changes: dict[str, Any]  # of the run row
    execution: TaskExecution
    skipped: list[TaskExecution]  # the tasks after one that failed and has stop_on_failure


def write_checkpoint(run: FeatureRun, outcome: Outcome, *, failed: Set[str]) -> Checkpoint:
    """Write the outcome of the current task and the new state of *run*, whose tasks *failed* before."""
    execution = _execution(run, outcome)
    wait = outcome.wait()
    if wait is not None:
        reason = f"{outcome.task.name} is tried again after {execution.error_type}"
        changes = run.postpone([execution], seconds=wait, reason=reason, context=outcome.context)
        return Checkpoint(changes, execution, [])
    rest = skipped(run, outcome.task.name) if outcome.failed and outcome.policy.stop_on_failure else []
    end, reason = None, ""
    if run.position + 1 + len(rest) == len(run.task_names):
        end, reason = _end(run, failed | {outcome.task.name} if outcome.failed else failed)
    changes = run.checkpoint([execution, *rest], context=outcome.context, end=end, reason=reason)
    return Checkpoint(changes, execution, rest)


def _end(run: FeatureRun, failed: Set[str]) -> tuple[RunState, str]:
    """Return the state in which the run ends, and the reason."""
    if not failed:
        return RunState.SUCCEEDED, ""
    names = [name for name in run.task_names if name in failed]
    return RunState.FAILED, f"{len(names)} of {len(run.task_names)} tasks failed: {', '.join(names)}"


def _execution(run: FeatureRun, outcome: Outcome) -> TaskExecution:
    return TaskExecution(
        run=run,
        name=outcome.task.name,
        position=run.position,
        attempt=outcome.number,
        token=run.token,
        state=ExecutionState.FAILED if outcome.failed else ExecutionState.SUCCEEDED,
        started_at=outcome.started_at,
        finished_at=timezone.now(),
        worker=run.worker,
        **outcome.fields(),
    )
