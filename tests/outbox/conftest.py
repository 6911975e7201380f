"""The feature whose runs are written."""

import pytest

from tests.outbox.features import registered


@pytest.fixture
def shop(tree):
    """A feature with two async tasks."""
    return registered(tree)
