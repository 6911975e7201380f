"""Runs whose jobs are in Redis; none of them has a row."""

from uuid import UUID

from numflow_django.broker.dispatch import enqueue
from numflow_django.models import FeatureRun

RUN = UUID("01a200bc-b1e0-7370-a911-da0a90f78020")


def run_of(run_id=RUN, **facts):
    """A run as its row says: *facts* are fields of it."""
    return FeatureRun(pk=run_id, **{"dispatch_no": 1, "queue": "default", "feature": "shop.buy"} | facts)


def enqueued(run_id=RUN, **facts):
    """Whether such a run was enqueued."""
    return enqueue(run_of(run_id, **facts), timeout=660)
