"""Record the execution that a dead worker lost, and decide whether its task runs again."""

from ..conf import conf
from ..discovery.registry import registry
from ..models import CLAIMED_IN_BATCH, ExecutionState, FeatureRun, RunState, TaskExecution
from ..signals import run_cancelled, run_failed, task_lost, task_skipped


def record_loss(run: FeatureRun, message: str, *, only_if_expired: bool) -> bool:
    """
    Release a dead worker's run at its current task. Return False if another process was first.

    A task that has lost its worker more than ``TASK_MAX_CRASHES`` times fails for good, and the next tasks run. A run
    that was claimed in a batch and whose lease expired may not have begun, so it is released without a lost execution.
    """
    if only_if_expired and run.reason == CLAIMED_IN_BATCH:
        return run.recover([], settled=0, end=None, reason=f"not begun: {message}", only_if_expired=True)
    name = run.task_names[run.position]
    earlier = run.log.filter(name=name).exclude(state=ExecutionState.SKIPPED)
    lost = _execution(run, name, run.position, ExecutionState.LOST, message)
    lost.attempt = earlier.count() + 1
    rest: list[TaskExecution] = []
    crashes = earlier.filter(state=ExecutionState.LOST, token__gt=run.resumed_token).count()
    if crashes < conf.TASK_MAX_CRASHES:
        done = run.recover([lost], settled=0, end=None, reason=f"resuming: {message}", only_if_expired=only_if_expired)
    else:
        rest = skipped(run, name) if _stops_the_rest(run, name) else []
        settled = 1 + len(rest)
        end = RunState.FAILED if run.position + settled == len(run.task_names) else None
        done = run.recover(
            [lost, *rest], settled=settled, end=end, reason=f"crash loop: {name}", only_if_expired=only_if_expired
        )
    if done:
        _send_signals(run, lost, rest)
    return done


def _stops_the_rest(run: FeatureRun, name: str) -> bool:
    feature = registry.find(run.feature)
    task = feature.task(name) if feature else None
    return bool(feature and task and feature.policy(task).stop_on_failure)


def _send_signals(run: FeatureRun, lost: TaskExecution, rest: list[TaskExecution]) -> None:
    run.reread()
    facts = {"sender": FeatureRun, "run": run}
    task_lost.send_robust(**facts, execution=lost)
    for left_out in rest:
        task_skipped.send_robust(**facts, execution=left_out)
    ended = {RunState.FAILED: run_failed, RunState.CANCELLED: run_cancelled}.get(RunState(run.state))
    if ended:
        ended.send_robust(**facts)


def skipped(run: FeatureRun, failed: str) -> list[TaskExecution]:
    """Return an execution for each task that is skipped because the current one has failed for good."""
    names = list(enumerate(run.task_names))[run.position + 1 :]
    return [_execution(run, name, at, ExecutionState.SKIPPED, f"{failed} failed") for at, name in names]


def _execution(run: FeatureRun, name: str, position: int, state: ExecutionState, message: str) -> TaskExecution:
    return TaskExecution(
        run=run, name=name, position=position, token=run.token, state=state, worker=run.worker, error_message=message
    )
