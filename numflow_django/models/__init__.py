"""The two tables, ``run`` and ``execution``: the states of a run and every change of them."""

from .clock import NOW
from .execution import TaskExecution
from .queryset import CLAIMED_IN_BATCH, FeatureRunQuerySet
from .run import WAIT_SKIPPED, FeatureRun
from .states import ENDED, OPEN, ExecutionState, RunState

__all__ = [
    "CLAIMED_IN_BATCH",
    "ENDED",
    "NOW",
    "OPEN",
    "WAIT_SKIPPED",
    "ExecutionState",
    "FeatureRun",
    "FeatureRunQuerySet",
    "RunState",
    "TaskExecution",
]
