"""Assertions about runs, for unittest and pytest. Their messages show the whole task log."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from ..context import thaw
from ..discovery.registry import registry
from ..exceptions import UnknownFeature
from ..models import ExecutionState, FeatureRun, RunState
from .pending import databases
from .report import describe

# unittest leaves the frames of such a module out of its tracebacks
__unittest = True

_MISSING = object()


def assert_run(
    run: FeatureRun | str | UUID,
    *,
    state: str = "succeeded",
    tasks: Sequence[str] | Mapping[str, str] | None = None,
    attempts: Mapping[str, int] | None = None,
    context: Mapping[str, Any] | None = None,
) -> FeatureRun:
    """
    Assert the state of a run and return it, read again from the database.

    *run* is a run, its id (``response["Numflow-Run"]``), or the label of a feature that has one run. *tasks* lists the
    names of all tasks that have succeeded, in order; or it maps some tasks to the state of their last execution:
    ``succeeded``, ``failed``, ``lost`` or ``skipped``. *attempts* maps some tasks to the number of their executions.
    *context* has keys and values that the context must contain.

    Raise AssertionError with all differences and the run's task log; UnknownFeature for a label that no feature has.
    """
    __tracebackhide__ = True
    found = _find(run, state)
    differences = [f"state: {found.state}, not {state}"] if found.state != state else []
    differences += [f"tasks: {text}" for text in _tasks(found, tasks)]
    differences += [f"attempts: {text}" for text in _attempts(found, attempts or {})]
    differences += [f"context: {text}" for text in _context(found, context or {})]
    if differences:
        raise AssertionError("\n".join([*differences, "", describe(found)]))
    return found


def assert_no_runs(feature: str | None = None) -> None:
    """
    Assert that there is no run, or no run of *feature* (a label): no worker has run or will run a task.

    The row of a rolled-back request does not count. Raise AssertionError with the runs; UnknownFeature for a label that
    no feature has.
    """
    __tracebackhide__ = True
    if feature is not None:
        _check_label(feature)
    found = [run for run in _runs(feature) if run.state != RunState.ROLLED_BACK]
    if found:
        raise AssertionError("\n".join(["there should be no run", "", *map(describe, found)]))


def _find(run: FeatureRun | str | UUID, state: str) -> FeatureRun:
    __tracebackhide__ = True
    if state not in RunState.values:
        raise ValueError(f"assert_run(state={state!r}): the states are {', '.join(RunState.values)}")
    if isinstance(run, FeatureRun):
        run.reread()
        return run
    key = _as_id(run)
    found = [one for one in _runs(None) if one.pk == key] if key else _of_feature(str(run), state)
    if len(found) == 1:
        return found[0]
    if not found:
        others = [describe(other) for other in _runs(None)] or ["there is no run at all"]
        raise AssertionError("\n".join([f"there is no run {run if key else f'of {run}'}", "", *others]))
    raise AssertionError(
        "\n".join([f"there are {len(found)} runs of {run}; pass one of them, or its id", "", *map(describe, found)])
    )


def _as_id(run: str | UUID) -> UUID | None:
    try:
        return UUID(str(run))
    except ValueError:
        return None


def _of_feature(label: str, state: str) -> list[FeatureRun]:
    _check_label(label)
    runs = list(_runs(label))
    # A request that was rolled back and sent again has left two rows, but only one of them is a run
    return [run for run in runs if (run.state == RunState.ROLLED_BACK) == (state == RunState.ROLLED_BACK)]


def _check_label(label: str) -> None:
    if registry.find(label) is None:
        raise UnknownFeature(f"there is no feature {label!r}; {registry.hint_for(label)}")


def _runs(label: str | None) -> Iterator[FeatureRun]:
    for runs in databases():
        yield from (runs if label is None else runs.filter(feature=label)).order_by("created_at", "pk")


def _tasks(run: FeatureRun, expected: Sequence[str] | Mapping[str, str] | None) -> Iterator[str]:
    if isinstance(expected, Mapping):
        states = {execution.name: str(execution.state) for execution in run.log}
        for name, state in expected.items():
            _check_task(run, name)
            if states.get(name, "not run") != state:
                yield f"{name} {states.get(name, 'not run')}, not {state}"
    elif expected is not None:
        succeeded = [execution.name for execution in run.log if execution.state == ExecutionState.SUCCEEDED]
        if succeeded != list(expected):
            yield f"{', '.join(succeeded) or 'none'} succeeded, not {', '.join(expected) or 'none'}"


def _attempts(run: FeatureRun, expected: Mapping[str, int]) -> Iterator[str]:
    for name, number in expected.items():
        _check_task(run, name)
        found = run.log.filter(name=name).exclude(state=ExecutionState.SKIPPED).count()
        if found != number:
            yield f"{name} had {found}, not {number}"


def _check_task(run: FeatureRun, name: str) -> None:
    if name not in run.task_names:
        raise ValueError(f"assert_run(): {run.feature} has no async task {name!r}; it has {', '.join(run.task_names)}")


def _context(run: FeatureRun, expected: Mapping[str, Any]) -> Iterator[str]:
    ctx = thaw(run.context, run_id=run.pk)
    for key, value in expected.items():
        found = ctx.get(key, _MISSING)
        if found is _MISSING:
            yield f"there is no {key!r}; its keys are: {', '.join(sorted(ctx)) or 'none'}"
        elif found != value:
            yield f"{key} is {found!r}, not {value!r}"
