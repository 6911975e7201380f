"""The pytest plugin: ``pytest_plugins = ["numflow_django.testing.plugin"]`` in the ``conftest.py`` at the top."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def run_pending(db: None) -> Iterator[Callable[..., Any]]:
    """
    Yield :func:`numflow_django.testing.run_pending`. Nothing connects to Redis during the test.

    This includes tests with ``@pytest.mark.django_db(transaction=True)``, where requests commit and enqueue their runs.
    """
    # Imported here: pytest loads this module before Django's apps are ready
    from .broker import without_redis
    from .pending import run_pending

    with without_redis():
        yield run_pending
