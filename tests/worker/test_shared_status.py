"""The status of a work-horse that its worker reads."""

from numflow_django.worker.shared_status import STUCK_SECONDS, SharedStatus

NAMES = [f"numflow-{number:032x}-{10**20 + number}" for number in range(16)]


def test_it_holds_what_was_taken():
    """All ids of a batch are stored, even the longest ones, beside the running job."""
    status = SharedStatus()

    status.store_taken(NAMES)
    status.store_running(NAMES[3], 60)

    assert status.taken == NAMES
    assert (status.running.job_id, status.running.limit) == (NAMES[3], 60)


def test_a_job_beyond_its_limit_is_overdue():
    """A job is overdue STUCK_SECONDS after its limit, and not before."""
    status = SharedStatus()

    status.store_running(NAMES[0], 60)
    before = status.running.is_overdue
    status.store_running(NAMES[0], -STUCK_SECONDS - 1)

    assert (before, status.running.is_overdue) == (False, True)


def test_without_a_job():
    """A new status has no running job, and neither has one after a job's end; the taken ids stay."""
    status = SharedStatus()
    assert (status.running, status.taken) == (None, [])

    status.store_taken(NAMES[:1])
    status.store_running(NAMES[0], 60)
    status.clear_running()

    assert (status.running, status.taken) == (None, NAMES[:1])
