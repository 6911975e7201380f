"""Redis in tests: there is none, or it is down."""

from contextlib import ExitStack
from typing import Any, ClassVar
from unittest import mock

from django.test.utils import TestContextDecorator

from ..broker import dispatch, workers
from ..broker.pauses import without_pauses
from ..models import FeatureRun
from .committed import Callback, committed, pending_callbacks


class without_redis(TestContextDecorator):  # noqa: N801 - a decorator
    """
    Enqueue nothing: no code connects to Redis, and runs wait for :func:`run_pending`.

    A context manager, and a decorator for test functions and TestCase classes. A plain TestCase needs none of it,
    because nothing is committed there; a TransactionTestCase does.
    """

    def enable(self) -> None:
        """Called when the block or the test begins."""
        self.patches = ExitStack()
        # The trace would ask Redis
        self.patches.enter_context(mock.patch.object(workers, "worker_count", return_value=None))
        # Inside redis_down(), Redis stays down: run_pending() may be called there
        if not redis_down.open_blocks:
            self.patches.enter_context(mock.patch.object(dispatch, "push", self.push))

    def disable(self) -> None:
        """Called when it ends."""
        self.patches.close()

    def push(self, run: FeatureRun, *, timeout: int) -> None:
        """Replaces the function that puts a job into Redis; do nothing."""


class redis_down(TestContextDecorator):  # noqa: N801 - a decorator
    """
    Redis refuses every connection: requests answer all the same, and their runs stay pending.

    A context manager and a decorator. What the block does is committed when it ends: in a TestCase, the on_commit
    callbacks that it has left are called then. Raise AssertionError if nothing was dispatched in the block.
    """

    #: How many blocks are open in this process.
    open_blocks: ClassVar[int] = 0

    def enable(self) -> None:
        """Called when the block or the test begins."""
        self.refused = 0
        self.earlier: list[Callback] = pending_callbacks()
        self.patches = ExitStack()
        self.patches.enter_context(mock.patch.object(dispatch, "push", self.push))
        # No earlier pause may hide this failure, and its own pause must not outlast the block
        self.patches.enter_context(without_pauses())
        redis_down.open_blocks += 1

    def disable(self) -> None:
        """Called when it ends."""
        redis_down.open_blocks -= 1
        self.patches.close()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            if error is None:
                with committed(except_for=self.earlier):
                    pass
        finally:
            self.disable()
        if error is None and not self.refused:
            raise AssertionError(
                "redis_down(): nothing was dispatched in the block, so the test proves nothing; put the request "
                "or the start_run() into the block, of a feature with async tasks"
            )

    def push(self, run: FeatureRun, *, timeout: int) -> None:
        """Replaces the function that puts a job into Redis; raise the error of a refused connection."""
        self.refused += 1
        raise ConnectionRefusedError("redis_down(): Redis is down")
