"""Draws a run as a tree: the request and its steps, COMMIT, and the async tasks."""

import json
from collections.abc import Callable, Iterator
from textwrap import shorten

from django.core.management.color import Style

from numflow_django.discovery.registry import registry
from numflow_django.models import ExecutionState, FeatureRun, TaskExecution

from .order import Answer

#: Columns of the left part and of the remark on the right. With the time between them there are 100.
LABEL, REMARK = 41, 46
BRANCH, LAST_BRANCH = "├─ ", "└─ "


def draw(run: FeatureRun, answer: Answer, style: Style) -> str:
    """Return the tree of *run*, whose response is *answer*."""
    head = _row(f"{run.method} {run.path} -> {answer.status}", answer.milliseconds, "the customer waited this long")
    commit = style.WARNING(_row(f"{BRANCH}COMMIT", None, "the response is sent"))
    rows = [head, *_steps(run, style), commit, *_tasks(run, style)]
    rows[-1] = rows[-1].replace(BRANCH, LAST_BRANCH)
    return "\n".join(rows)


def _steps(run: FeatureRun, style: Style) -> Iterator[str]:
    for step in run.steps:
        yield _row(f"{BRANCH}step {step['number']} {step['name']}", step["ms"], step.get("error", ""), style.ERROR)


def _tasks(run: FeatureRun, style: Style) -> Iterator[str]:
    for execution in run.executions.order_by("id"):
        took = execution.duration
        paint = style.SUCCESS if execution.state == ExecutionState.SUCCEEDED else style.ERROR
        milliseconds = took.total_seconds() * 1000 if took else None
        yield _row(f"{BRANCH}task {_title(run, execution.name)}", milliseconds, _outcome(execution), paint)
    for name in run.task_names[run.position :]:
        yield _row(f"{BRANCH}task {_title(run, name)}", None, "not run yet")


def _title(run: FeatureRun, task_name: str) -> str:
    """Return the task's name with its number, as in its file name."""
    feature = registry.find(run.feature)
    return str((feature and feature.task(task_name)) or task_name)


def _outcome(execution: TaskExecution) -> str:
    if execution.error_type:
        return f"{execution.state}: {execution.error_type}: {execution.error_message}"
    result = "" if execution.result is None else json.dumps(execution.result, ensure_ascii=False)
    return f"{execution.state} {result}"


def _row(label: str, milliseconds: float | None, remark: str, paint: Callable[[str], str] = str) -> str:
    took = "" if milliseconds is None else f"{milliseconds:.1f} ms"
    remark = shorten(remark, REMARK, placeholder=" ...")
    return f"{label:<{LABEL}}{took:>9}  {paint(remark) if remark else ''}".rstrip()
