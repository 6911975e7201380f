"""What RQ calls by name. A wire format: jobs in Redis name this function, so it is never renamed or moved."""

from uuid import UUID

import django
from django.apps import apps

# RQ's SpawnWorker, and macOS, where a fork would not do, import this module in a bare interpreter
if not apps.ready:
    django.setup()

from django.db import connections
from rq import get_current_job

from .db.lengths import WORKER_LENGTH
from .execution import relay, runner
from .text.redaction import plain


def run_feature(run_id: str, dispatch_no: int) -> None:
    """Run the async tasks of the run *run_id*, as its doorbell number *dispatch_no* asks; then a share of the sweep."""
    job = get_current_job()
    # A connection that the worker's parent opened must not be shared with its work-horses
    connections.close_all()
    try:
        # RQ's own worker takes a name of any length
        worker = plain((job and job.worker_name) or "", WORKER_LENGTH)
        run = runner.run(UUID(run_id), dispatch_no, worker=worker)
        if run is not None:
            relay.after(run)
    finally:
        connections.close_all()
