"""The function that RQ calls by name. Jobs in Redis hold this name, so never rename or move it."""

from uuid import UUID

import django
from django.apps import apps

# RQ's SpawnWorker, and macOS, where fork does not work, import this module in a new interpreter
if not apps.ready:
    django.setup()

from rq import get_current_job

from .db.connections import close_connections
from .db.lengths import WORKER_LENGTH
from .execution import relay, runner
from .text.redaction import plain


def run_feature(run_id: str, dispatch_no: int) -> None:
    """Execute the run *run_id* (a UUID as text) if *dispatch_no* is current, then do a short relay tick."""
    job = get_current_job()
    # A connection that the worker's parent process opened must not be shared with its work-horses
    close_connections()
    try:
        # RQ's own worker takes a name of any length
        worker = plain((job and job.worker_name) or "", WORKER_LENGTH)
        run = runner.run(UUID(run_id), dispatch_no, worker=worker)
        if run is not None:
            relay.after_run(run)
    finally:
        close_connections()
