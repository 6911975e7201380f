"""The pytest plugin: ``pytest_plugins = ["numflow_django.testing.plugin"]`` in the ``conftest.py`` at the top."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def run_pending(db: None) -> Iterator[Callable[..., Any]]:
    """
    Give :func:`numflow_django.testing.run_pending`; nothing connects to Redis while the test lasts.

    With ``@pytest.mark.django_db(transaction=True)`` too, where requests are committed and ring for their runs.
    """
    # Imported here: pytest loads this module before Django's apps are ready
    from .broker import without_redis
    from .pending import run_pending

    with without_redis():
        yield run_pending
