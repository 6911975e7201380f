"""
The signals about runs and tasks, and all logging of numflow_django.

Every signal is sent with the FeatureRun class as *sender* and *run*; the ``task_*`` signals also with *execution*
(TaskExecution), ``task_failed`` with *error*. ``dispatch_failed`` is sent with *run_id*, *feature*, *error* and *hint*.
They are sent with ``send_robust``: if a receiver raises, Django logs the error and nothing else changes.
"""

import logging
from typing import Any

from django.dispatch import Signal, receiver

logger = logging.getLogger("numflow_django")

#: The prefix of a run's reason if its feature or next task is not in the worker's code.
UNKNOWN = "unknown "

#: A worker has claimed a run and begins its tasks.
run_started = Signal()
#: All tasks of a run have succeeded.
run_succeeded = Signal()
#: All tasks of a run have ended, and at least one has failed for good.
run_failed = Signal()
#: A task begins; sent with *task* (TaskInfo) instead of an execution.
task_started = Signal()
task_succeeded = Signal()
task_failed = Signal()
#: A task was skipped, because an earlier task with ``stop_on_failure`` failed.
task_skipped = Signal()
#: A task will be retried after a wait; sent with *error* (None: the task returned a Retry).
task_retried = Signal()
#: A task's worker died while it ran.
task_lost = Signal()
#: A worker has released an unfinished run: it waits, or another worker continues it.
run_released = Signal()
#: A run was cancelled while a worker had it.
run_cancelled = Signal()
#: A run could not be enqueued in Redis and stays pending. *hint* says what to do about it, or is "".
dispatch_failed = Signal()
#: A request was rolled back; sent with *run* if it left a row (state ``rolled_back``).
request_rolled_back = Signal()


@receiver(run_started, dispatch_uid="numflow_django.log")
def log_run_started(run: Any, **kwargs: Any) -> None:
    logger.info("run started run=%s feature=%s position=%s worker=%s", run.pk, run.feature, run.position, run.worker)


@receiver([run_succeeded, run_failed], dispatch_uid="numflow_django.log")
def log_run_ended(run: Any, **kwargs: Any) -> None:
    level = logging.INFO if run.state == "succeeded" else logging.WARNING
    logger.log(level, "run %s run=%s feature=%s reason=%r", run.state, run.pk, run.feature, run.reason)


@receiver(task_succeeded, dispatch_uid="numflow_django.log")
def log_task_succeeded(run: Any, execution: Any, **kwargs: Any) -> None:
    logger.info("task succeeded run=%s feature=%s task=%s", run.pk, run.feature, execution.name)


@receiver(task_skipped, dispatch_uid="numflow_django.log")
def log_task_skipped(run: Any, execution: Any, **kwargs: Any) -> None:
    logger.warning("task skipped run=%s feature=%s task=%s", run.pk, run.feature, execution.name)


@receiver(task_failed, dispatch_uid="numflow_django.log")
def log_task_failed(run: Any, execution: Any, error: BaseException, **kwargs: Any) -> None:
    # Always with its traceback, even without DEBUG: no client waits for a task and sees it fail
    logger.error(
        "task failed run=%s feature=%s task=%s attempt=%s error=%s",
        run.pk,
        run.feature,
        execution.name,
        execution.attempt,
        execution.error_type,
        exc_info=error,
    )


@receiver(task_retried, dispatch_uid="numflow_django.log")
def log_task_retried(run: Any, execution: Any, error: BaseException | None, **kwargs: Any) -> None:
    logger.warning(
        "task retried run=%s feature=%s task=%s attempt=%s error=%s",
        run.pk,
        run.feature,
        execution.name,
        execution.attempt,
        execution.error_type,
        exc_info=error,
    )


@receiver(task_lost, dispatch_uid="numflow_django.log")
def log_task_lost(run: Any, execution: Any, **kwargs: Any) -> None:
    logger.error(
        "task lost run=%s feature=%s task=%s attempt=%s worker=%s: %s",
        run.pk,
        run.feature,
        execution.name,
        execution.attempt,
        execution.worker,
        execution.error_message,
    )


@receiver(run_released, dispatch_uid="numflow_django.log")
def log_run_released(run: Any, **kwargs: Any) -> None:
    if run.reason.startswith(UNKNOWN):
        # A deployment with the code ends the wait; if the task was renamed or removed, the run fails in the end
        logger.warning(
            "run waits for code run=%s feature=%s task=%s reason=%r; after that it fails",
            run.pk,
            run.feature,
            run.task_names[run.position],
            run.reason,
        )
        return
    logger.info("run released run=%s feature=%s state=%s reason=%r", run.pk, run.feature, run.state, run.reason)


@receiver(run_cancelled, dispatch_uid="numflow_django.log")
def log_run_cancelled(run: Any, **kwargs: Any) -> None:
    logger.info("run cancelled run=%s feature=%s position=%s", run.pk, run.feature, run.position)


@receiver(dispatch_failed, dispatch_uid="numflow_django.log")
def log_dispatch_failed(run_id: Any, feature: str, error: BaseException, hint: str = "", **kwargs: Any) -> None:
    # redis-py's errors leave their message out of repr()
    what = f"{type(error).__name__}: {error}"
    more = f" hint={hint!r}" if hint else ""
    logger.warning("dispatch failed run=%s feature=%s error=%r%s; the run stays pending", run_id, feature, what, more)


@receiver(request_rolled_back, dispatch_uid="numflow_django.log")
def log_request_rolled_back(run: Any, **kwargs: Any) -> None:
    logger.info("request rolled back run=%s feature=%s reason=%r", run.pk, run.feature, run.reason)
