"""The lease of a run, which is held while a block runs."""

from types import SimpleNamespace

import pytest

from numflow_django.execution.keeper import Keeper
from numflow_django.execution.lease import Lease

RUN = SimpleNamespace(pk=7, held_at=float("inf"))  # so fresh that it is never renewed


@pytest.fixture
def keeper():
    keeper = Keeper()
    yield keeper
    keeper.close()


def test_a_lease_is_held_in_the_block(keeper):
    """The keeper holds the run while the block runs, and not after it."""
    with Lease(RUN, keeper=keeper):
        held = keeper.held

    assert (held, keeper.held) == ({7}, set())


def test_an_error_ends_the_lease(keeper):
    """A block that ends with an error leaves no run behind, and the error is raised."""
    with pytest.raises(ValueError, match="no"), Lease(RUN, keeper=keeper):
        raise ValueError("no")

    assert keeper.held == set()


def test_a_worker_uses_the_keeper_of_its_process():
    """Without another keeper, one keeper holds all leases of the process."""
    with Lease(RUN):
        assert Keeper.of_process().held == {7}

    assert Keeper.of_process().held == set()
