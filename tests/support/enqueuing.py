"""Runs without Redis: the fixture ``enqueued`` takes the place of what puts a job into Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connections

from numflow_django.broker import dispatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numflow_django.models import FeatureRun


class Enqueued(list[UUID]):
    """The ids of the runs that were enqueued, in order, and how they were."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False  # set it to let Redis refuse all runs
        self.jobs: list[tuple[UUID, int]] = []  # (run id, dispatch number)
        self.facts: dict[str, Any] = {}  # of the last job
        self.in_transaction: bool | None = None  # whether any connection was in one at the last job
        self.watch: Callable[[], Any] | None = None  # is called with each job

    def push(self, run: FeatureRun, *, timeout: int) -> None:
        if self.is_down:
            raise ConnectionRefusedError("Redis is down")
        self.append(run.pk)
        self.jobs.append((run.pk, run.dispatch_no))
        self.facts = {
            "run_id": run.pk,
            "dispatch_no": run.dispatch_no,
            "queue": run.queue,
            "timeout": timeout,
            "feature": run.feature,
        }
        self.in_transaction = any(alias.in_atomic_block for alias in connections.all(initialized_only=True))
        if self.watch:
            self.watch()


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> Enqueued:
    """The runs that this test enqueues; none of them reaches Redis."""
    enqueued = Enqueued()
    monkeypatch.setattr(dispatch, "push", enqueued.push)
    return enqueued
