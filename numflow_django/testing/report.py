"""Describes a run as text, for the message of a failed assertion."""

from collections.abc import Iterator
from textwrap import indent

from ..models import ExecutionState, FeatureRun, RunState, TaskExecution

#: What to do about a run that has not ended, by its state.
REMEDIES = {
    RunState.PENDING: "its tasks have not run; call run_pending()",
    RunState.QUEUED: "its tasks have not run; call run_pending()",
    RunState.WAITING: "run_pending(waiting=True) skips all waits, run_pending(until=60) those of the next minute",
}


def describe(run: FeatureRun) -> str:
    """Return the run, its request, its steps and its whole task log, with the tracebacks."""
    return "\n".join([_headline(run), *(indent(line, "  ") for line in _lines(run))])


def _headline(run: FeatureRun) -> str:
    details = "; ".join(filter(None, [run.reason, REMEDIES.get(RunState(run.state), "")]))
    return f"run {run.pk} of {run.feature} is {run.state}" + (f": {details}" if details else "")


def _lines(run: FeatureRun) -> Iterator[str]:
    if run.path:
        yield f"{run.method} {run.path} -> {run.status_code}"
    for step in run.steps:
        yield f"step {step['number']} {step['name']}" + (f": {step['error']}" if "error" in step else "")
    log = list(run.log)
    yield from map(_line, log)
    begun = {execution.name for execution in log}
    yield from (f"task {name}: not run" for name in run.task_names if name not in begun)


def _line(execution: TaskExecution) -> str:
    line = f"task {execution.name}, attempt {execution.attempt}: {execution.state}"
    if execution.traceback:
        return f"{line}\n{indent(execution.traceback.rstrip(), '    ')}"
    if execution.state != ExecutionState.SUCCEEDED:
        return f"{line}: {execution.error_message}"
    return line if execution.result is None else f"{line}, returned {execution.result!r}"
