"""Redis in tests: there is none, or it is down."""

from typing import Any
from unittest import mock

from django.test.utils import TestContextDecorator

from ..broker import dispatch
from .committed import Callback, committed, pending_callbacks


class without_redis(TestContextDecorator):  # noqa: N801 - a decorator
    """
    Enqueue nothing: no code connects to Redis, and runs wait for :func:`run_pending`.

    A context manager, and a decorator for test functions and TestCase classes. A plain TestCase needs none of it,
    because nothing is committed there; a TransactionTestCase does.
    """

    def enable(self) -> None:
        """Called when the block or the test begins."""
        outer = getattr(dispatch._enqueue, "__self__", None)
        # Inside redis_down(), Redis stays down: run_pending() may be called there
        bell = outer._enqueue if isinstance(outer, redis_down) else self._enqueue
        self.bell = mock.patch.object(dispatch, "_enqueue", bell)
        # The trace would ask Redis
        self.workers = mock.patch.object(dispatch, "worker_count", return_value=None)
        self.bell.start()
        self.workers.start()

    def disable(self) -> None:
        """Called when it ends."""
        self.workers.stop()
        self.bell.stop()

    def _enqueue(self, *facts: Any) -> None:
        pass


class redis_down(TestContextDecorator):  # noqa: N801 - a decorator
    """
    Redis refuses every connection: requests answer all the same, and their runs stay pending.

    A context manager and a decorator. What the block does is committed when it ends: in a TestCase, the on_commit
    callbacks that it has left are called then. Raise AssertionError if nothing was dispatched in the block.
    """

    def enable(self) -> None:
        """Called when the block or the test begins."""
        self.refused = 0
        self.earlier: list[Callback] = pending_callbacks()
        self.bell = mock.patch.object(dispatch, "_enqueue", self._enqueue)
        # No earlier pause may hide this failure, and its own pause must not outlast the block
        self.pauses = mock.patch.dict(dispatch._paused_until, clear=True)
        self.bell.start()
        self.pauses.start()

    def disable(self) -> None:
        """Called when it ends."""
        self.pauses.stop()
        self.bell.stop()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            if error is None:
                with committed(except_for=self.earlier):
                    pass
        finally:
            self.disable()
        if error is None and not self.refused:
            raise AssertionError(
                "redis_down(): nothing was dispatched in the block, so nobody missed Redis; put the request or the "
                "start_run() into the block, of a feature with async tasks"
            )

    def _enqueue(self, *facts: Any) -> None:
        self.refused += 1
        raise ConnectionRefusedError("redis_down(): Redis is down")
