"""Call an async task once, and prepare its outcome for the task log."""

import asyncio
import inspect
import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

from asgiref.sync import async_to_sync
from django.core.serializers.json import DjangoJSONEncoder

from ..conf import conf
from ..context import Context, read_ahead
from ..db.connections import OpenTransactions
from ..db.lengths import MESSAGE_LENGTH, TRACEBACK_LENGTH
from ..discovery.modules import Module
from ..exceptions import TaskError, TaskTimeout, TransactionLeftOpen
from ..models import FeatureRun
from ..signals import logger
from ..text.redaction import plain, scrub
from ..text.tracebacks import traceback_of
from .timeout import call_with_limit

#: Errors of a task that do not end the worker.
TASK_ERRORS = (Exception, SystemExit, asyncio.CancelledError)

#: Seconds that a cancelled coroutine has to end. After that the next task begins without it.
CANCEL_SECONDS = 1.0

#: NUL and lone surrogates in JSON. An escaped backslash is matched and kept: a u0000 after it is plain text.
_UNSTORABLE = re.compile(r"(?P<backslash>\\\\)|\\u0000|[\ud800-\udfff]")


def call(task: Module, ctx: Context, seconds: float) -> Any:
    """
    Call the task under its limit of *seconds* and return its result. It leaves no transaction open.

    Raise the task's own error, TaskTimeout, TransactionLeftOpen, or TaskError if the task returned a coroutine that is
    never awaited.
    """
    function = partial(_run_coroutine, task.function) if task.is_async else task.function
    watch = OpenTransactions()
    try:
        result = call_with_limit(lambda: function(ctx), seconds=seconds, name=f"async task {task} ({task.file})")
    except TaskTimeout:
        watch.close_interrupted()  # a connection that was interrupted during a query cannot be trusted
        raise
    except BaseException:
        watch.clean_up()
        raise
    left = watch.clean_up()
    if left:
        raise TransactionLeftOpen(
            f"async task {task} ({task.file}) ended with an open transaction on {', '.join(left)}, which was rolled "
            "back; use 'with transaction.atomic():'"
        )
    if inspect.iscoroutine(result):
        result.close()
        raise TaskError(
            f"async task {task} ({task.file}) returned a coroutine, which is never awaited; use 'async def'"
        )
    return result


def _run_coroutine(function: Callable[[Context], Any], ctx: Context) -> Any:
    """Run a coroutine task. If it is interrupted, cancel it and wait for its end before raising."""
    read_ahead(ctx)
    begun: list[asyncio.Task[Any] | None] = []
    ended = Event()

    async def body() -> Any:
        begun.append(asyncio.current_task())
        try:
            return await function(ctx)
        finally:
            ended.set()

    try:
        return async_to_sync(body)()
    except BaseException:
        # The alarm interrupts this thread, but the coroutine runs in another one
        for running in filter(None, begun):
            with suppress(RuntimeError):  # its loop has ended already
                running.get_loop().call_soon_threadsafe(running.cancel)
                ended.wait(CANCEL_SECONDS)
        raise


def storable(result: Any, *, run: FeatureRun, task: Module) -> Any:
    """
    Return the task's result as JSON, or log a warning and return None if it cannot be stored.

    NUL and lone surrogates, which PostgreSQL cannot store, are replaced.
    """
    try:
        text = json.dumps(result, cls=DjangoJSONEncoder, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    else:
        text = _UNSTORABLE.sub(lambda found: found["backslash"] or "\N{REPLACEMENT CHARACTER}", text)
        if len(text.encode()) <= conf.CONTEXT_MAX_BYTES:
            return json.loads(text)
        problem = "it is larger than NUMFLOW['CONTEXT_MAX_BYTES']"
    logger.warning("result not stored run=%s feature=%s task=%s: %s", run.pk, run.feature, task.name, problem)
    return None


def error_fields(error: BaseException) -> dict[str, str]:
    """Return the fields of an error for the task log."""
    kind = type(error)
    return {
        "error_type": plain(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), 200),
        "error_message": scrub(_message(error), MESSAGE_LENGTH),
        "traceback": scrub(traceback_of(error), TRACEBACK_LENGTH),
    }


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error must be recorded even if its str() fails
        return "<its str() failed>"
