"""The function that RQ's own worker calls by name."""

from types import SimpleNamespace

import pytest

from numflow_django import jobs
from numflow_django.db.lengths import WORKER_LENGTH
from numflow_django.models import RunState
from tests.support.running import executions, queued

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_worker_with_a_long_name(feature, monkeypatch):
    """RQ's own worker takes a name of any length; a run is claimed under as much of it as the column holds."""
    monkeypatch.setattr(jobs, "get_current_job", lambda: SimpleNamespace(worker_name="n" * 250))
    run = queued(feature(mail="pass"))

    jobs.run_feature(str(run.pk), 1)

    run.reread()
    assert run.state == RunState.SUCCEEDED
    assert len(run.worker) == WORKER_LENGTH
    assert [execution.worker for execution in executions(run)] == [run.worker]
