"""The lease of a run, which is held while a block runs."""

from types import SimpleNamespace

import pytest

from numflow_django.execution.lease import Lease
from numflow_django.execution.lease_renewal import LeaseRenewer

RUN = SimpleNamespace(pk=7, has_used_lease=lambda fraction: False)  # so fresh that it is never renewed


@pytest.fixture
def renewer():
    renewer = LeaseRenewer()
    yield renewer
    renewer.close()


def test_a_lease_is_held_in_the_block(renewer):
    """The renewer holds the run while the block runs, and not after it."""
    with Lease(RUN, renewer=renewer):
        held = renewer.held

    assert (held, renewer.held) == ({7}, set())


def test_an_error_ends_the_lease(renewer):
    """A block that ends with an error leaves no run behind, and the error is raised."""
    with pytest.raises(ValueError, match="no"), Lease(RUN, renewer=renewer):
        raise ValueError("no")

    assert renewer.held == set()


def test_a_worker_uses_the_renewer_of_its_process():
    """Without another renewer, one renewer holds all leases of the process."""
    with Lease(RUN):
        assert LeaseRenewer.of_process().held == {7}

    assert LeaseRenewer.of_process().held == set()
