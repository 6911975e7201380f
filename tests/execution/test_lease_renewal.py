"""The renewer, which renews the leases of the runs that a process works on."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import InterfaceError, OperationalError

from numflow_django.db.timestamps import Now
from numflow_django.execution import lease_renewal as module
from numflow_django.execution.lease import Lease
from numflow_django.execution.lease_renewal import LeaseRenewer
from numflow_django.models import FeatureRun, RunState
from tests.e2e.processes import own_database
from tests.support.waiting import eventually


@pytest.fixture
def renewer(monkeypatch):
    """A renewer of this test only, and leases so short that they are renewed every 5 ms."""
    monkeypatch.setattr(module, "conf", SimpleNamespace(LEASE_SECONDS=0.02))
    renewer = LeaseRenewer()
    yield renewer
    renewer.close()


class Run:
    """A run that counts the renewals of its lease; *answers* are their results, the last one repeated."""

    pk = 7
    _state = SimpleNamespace(db="default")
    has_used_lease = FeatureRun.has_used_lease

    def __init__(self, *answers, held_at=0.0):
        self.answers = list(answers)
        self.renewals = 0
        self.held_at = held_at

    def renew_lease(self):
        self.renewals += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def rounds(renewer, number=2):
    """Wait for this many rounds of the renewer, each of which renews the lease of another run."""
    other = Run(True)
    other.pk = 8
    with Lease(other, renewer=renewer):
        eventually(lambda: other.renewals >= number, message="The renewer is not at work")


def test_a_lease_is_renewed_while_the_tasks_run(renewer):
    """A lease is renewed again and again while the block runs, and not after it, by one thread for all runs."""
    run = Run(True)

    with Lease(run, renewer=renewer):
        eventually(lambda: run.renewals > 2, message="The lease was not renewed")
    rounds(renewer)
    seen = run.renewals
    rounds(renewer)

    assert run.renewals == seen


def test_a_claim_that_is_lost_is_not_renewed(renewer):
    """A worker whose run belongs to another worker stops renewing; its next checkpoint raises."""
    run = Run(True, False)

    with Lease(run, renewer=renewer):
        eventually(lambda: not renewer.held, message="The lease is still being renewed")

    assert run.renewals == 2


def test_a_process_has_one_keeper():
    """The renewer is the same for all runs of a process."""
    assert LeaseRenewer.of_process() is LeaseRenewer.of_process()


def test_a_fork_keeps_its_own_leases(monkeypatch):
    """A process that was forked has a renewer of its own: threads are not inherited."""
    first = LeaseRenewer.of_process()
    monkeypatch.setattr(module, "os", SimpleNamespace(getpid=lambda: 0))

    second = LeaseRenewer.of_process()

    first.close()
    second.close()
    assert second is not first


@pytest.mark.parametrize("error", [OperationalError("down"), InterfaceError("connection already closed")], ids=repr)
@pytest.mark.django_db
def test_a_renewal_that_fails_is_tried_again(renewer, caplog, error):
    """A renewal that fails is logged and tried again with a new connection."""
    run = Run(error, True)

    with Lease(run, renewer=renewer):
        eventually(lambda: run.renewals > 2, message="The lease was not renewed again")

    assert caplog.messages == [f"lease not renewed run=7 error={error!r}; trying again"]


def test_a_lease_in_the_database(renewer, tmp_path, django_db_blocker, settings):
    """A run whose lease has expired is alive again as soon as its worker renews it."""
    settings.NUMFLOW = {"LEASE_SECONDS": 60}
    with django_db_blocker.unblock(), own_database("lease", tmp_path):
        runs = FeatureRun.objects.using("lease")
        row = runs.create(feature="shop.buy", queue="default", state=RunState.QUEUED, dispatch_no=1)
        run = runs.claim(row.pk, 1, worker="w1")
        runs.update(lease_expires_at=Now() - timedelta(seconds=1))
        expired = list(runs.expired())
        run.held_at = 0.0

        with Lease(run, renewer=renewer):
            eventually(lambda: not runs.expired().exists(), message="The lease was not renewed")

        assert expired == [run]


def test_a_lease_that_is_fresh_is_not_renewed(renewer):
    """A run that ends within a quarter of its lease costs no renewal."""
    run = Run(True, held_at=float("inf"))

    with Lease(run, renewer=renewer):
        rounds(renewer)

    assert run.renewals == 0
