"""
Helpers for your tests: run async tasks without Redis, worker or sleep, assert on runs, and inject faults.

    from django.test import TestCase
    from numflow_django.testing import assert_run, run_pending

    class CreateOrderTests(TestCase):
        def test_the_mail(self):
            self.client.post("/api/orders/", {"sku": "A-1"})

            run_pending()

            assert_run("shop.create_order", tasks=["send_email", "publish_analytics"])

Nothing here is imported by the rest of numflow_django.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertions import assert_no_runs as assert_no_runs
    from .assertions import assert_run as assert_run
    from .broker import redis_down as redis_down
    from .broker import without_redis as without_redis
    from .faults import InjectedFault as InjectedFault
    from .faults import fail_task as fail_task
    from .faults import worker_dies_after as worker_dies_after
    from .faults import worker_dies_in as worker_dies_in
    from .pending import run_pending as run_pending

_HOMES = {
    "InjectedFault": "faults",
    "assert_no_runs": "assertions",
    "assert_run": "assertions",
    "fail_task": "faults",
    "redis_down": "broker",
    "run_pending": "pending",
    "without_redis": "broker",
    "worker_dies_after": "faults",
    "worker_dies_in": "faults",
}

__all__ = [
    "InjectedFault",
    "assert_no_runs",
    "assert_run",
    "fail_task",
    "redis_down",
    "run_pending",
    "without_redis",
    "worker_dies_after",
    "worker_dies_in",
]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): pytest imports the plugin, and with it this package, before Django's apps are ready
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
