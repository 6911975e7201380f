"""What each contestant does after COMMIT to have a sequence run; *key* names it."""

from functools import cache
from importlib import import_module

import django_rq

from benchmarks.site.work import sequence
from numflow_django import start_run


def _rq(key):
    _rq_queue().enqueue(sequence, key, result_ttl=0)


@cache
def _rq_queue():
    # Kept, and without django-rq's own on_commit: RQ at its best
    return django_rq.get_queue("default", commit_mode="auto")


def _ours(key):
    start_run("site.order", {"key": key})


def _bare(key):
    from benchmarks.site.models import BareRun

    BareRun.objects.create(key=key)


def _of(module, name="announce"):
    def announce(key):
        # Imported when it is used: a worker of one contestant loads none of the others
        getattr(import_module(f"benchmarks.site.{module}"), name)(key)

    return announce


PEERS = {
    "celery": _of("celery_app"),
    "dramatiq": _of("dramatiq_app"),
    "dramatiq-one": _of("dramatiq_app", "announce_one"),
    "huey": _of("huey_app"),
    "huey-one": _of("huey_app", "announce_one"),
}

#: Those that write a row of their own, inside the transaction.
OURS = ("ours", "ours-unprepared")
BARE = ("bare-5", "bare-5-async", "bare-2")
OUTBOXES = OURS + BARE

#: By contestant, for a producer that keeps what it can keep.
PRODUCERS = {
    **dict.fromkeys(OURS, _ours),
    "rq": _rq,
    "rq-simple": _rq,
    **PEERS,
    **dict.fromkeys(BARE, _bare),
}

#: By contestant, in a view written by hand; django-rq as its documentation has it.
VIEWS = {"plain": None, "rq": lambda key: django_rq.enqueue(sequence, key), **PEERS}
