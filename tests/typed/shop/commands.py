"""Runs without a request."""

from datetime import timedelta
from uuid import UUID

from numflow_django import start_run
from shop.models import Order


def announce(order: Order) -> UUID:
    """Send an order's mail once more, tomorrow."""
    run = start_run("shop.create_order", {"order": order}, start_after=timedelta(days=1), queue="default")
    return run.pk
