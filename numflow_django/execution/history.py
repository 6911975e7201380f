"""What has happened to the tasks of a run so far, under this claim and earlier ones."""

from ..models import ExecutionState, FeatureRun


class History:
    """The executions of a run's tasks so far."""

    def __init__(self, run: FeatureRun) -> None:
        self._run = run
        self._executions: dict[str, int] = {}  # of each task that has begun, the number of its last execution
        self._not_counted: dict[str, int] = {}  # the same when the run was last resumed
        self.failed: set[str] = set()  # the settled tasks that have not succeeded
        self.due_at = run.created_at  # when the task at the position became due
        if run.token > 1:
            self.read()

    def read(self) -> None:
        """Read from the task log what earlier claims of this run have done."""
        settled = self._run.task_names[: self._run.position]
        # A task may never have run: the run was cancelled, then resumed for its failures only. It has not succeeded
        self.failed = set(settled)
        columns = ("name", "attempt", "token", "state", "finished_at")
        for name, number, token, state, finished_at in self._run.log.values_list(*columns):
            if state != ExecutionState.SKIPPED:
                self._executions[name] = number
                if token <= self._run.resumed_token:
                    self._not_counted[name] = number
            if name in settled:
                (self.failed.discard if state == ExecutionState.SUCCEEDED else self.failed.add)(name)
                self.due_at = finished_at or self.due_at

    def has_begun(self, name: str) -> bool:
        """Return whether the task was executed before."""
        return name in self._executions

    def begin(self, name: str) -> int:
        """Count one more execution of the task and return its number, from 1."""
        self._executions[name] = self._executions.get(name, 0) + 1
        return self._executions[name]

    def not_counted(self, name: str) -> int:
        """Return how many executions of the task no longer count, because the run was resumed after them."""
        return self._not_counted.get(name, 0)
