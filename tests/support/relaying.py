"""Runs for the relay to find: their rows, and their jobs in Redis."""

from datetime import timedelta

from numflow_django.broker.dispatch import enqueue
from numflow_django.broker.job import job_id
from numflow_django.db.timestamps import Now
from numflow_django.models import FeatureRun, RunState

LONG_AGO = timedelta(hours=1)


def run_row(state=RunState.QUEUED, *, using="default", ago=timedelta(0), **fields):
    """A run that was enqueued, or became due, some time *ago*; if it is queued, it has no job in Redis."""
    defaults = {"feature": "market.buy", "queue": "default", "task_names": ["mail", "notify"], "dispatch_no": 1}
    defaults |= {"available_at": Now() - ago, "queued_at": Now() - ago}
    run = FeatureRun.objects.using(using).create(state=state, **defaults | fields)
    run.reread()
    return run


def enqueued(run):
    """The *run*, whose job is in Redis now."""
    assert enqueue(run, timeout=60)
    return run


def jobs(server, queue="default"):
    """The ids of the jobs in a queue, in order."""
    return [name.decode() for name in server.lrange(f"rq:queue:{queue}", 0, -1)]


def announced(*runs):
    """The ids of the jobs that the rows of *runs* expect."""
    for run in runs:
        run.reread()
    return [job_id(run.pk, run.dispatch_no) for run in runs]


def numbers(*runs):
    """The state and the dispatch number of each row."""
    for run in runs:
        run.reread()
    return [(run.state, run.dispatch_no) for run in runs]


def counts(report):
    """The three numbers of a relay's report."""
    return report.recovered, report.undispatched, report.dispatched
