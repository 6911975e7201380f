"""
The process of the site that does what a measure asks for: JSON lines in, JSON lines out.

``python -m benchmarks.site.clerk``
"""

import json
import os
import random
import sys
import time
from collections import Counter
from itertools import count
from statistics import median

import django
from django.apps import apps
from django.db import connection, transaction
from django.test import RequestFactory

SERIALS = count(1)

#: The tables that a measure begins with empty.
EMPTIED = ("numflow_django.TaskExecution", "numflow_django.FeatureRun", "site.Order", "site.BareRun", "site.BareLog")


def reset():
    """Empty all tables."""
    tables = [apps.get_model(label)._meta.db_table for label in EMPTIED]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
            return
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")


def fill(contestant, number, wait=0):
    """Enqueue *number* sequences whose tasks wait *wait* milliseconds."""
    from benchmarks.site.producers import PRODUCERS

    keys = [f"{wait}-{next(SERIALS)}" for _ in range(number)]
    with transaction.atomic():
        for key in keys:
            PRODUCERS[contestant](key)
    return keys


def pace(contestant, number, shortest, longest):
    """
    Enqueue *number* sequences one by one after the COMMIT of an order, pausing for that many seconds in between.

    Give each key with the moment of its COMMIT, in nanoseconds of the monotonic clock.
    """
    from benchmarks.site.models import Order
    from benchmarks.site.producers import OUTBOXES, PRODUCERS

    moments = {}
    for _ in range(number):
        time.sleep(random.uniform(shortest, longest))
        key = f"0-{next(SERIALS)}"
        with transaction.atomic():
            Order.objects.create(sku="A-1", quantity=1)
            transaction.on_commit(lambda key=key: moments.update({key: time.monotonic_ns()}))
            if contestant in OUTBOXES:
                PRODUCERS[contestant](key)  # a row of this transaction
            else:
                transaction.on_commit(lambda key=key: PRODUCERS[contestant](key))
    return moments


def audit():
    """What the tables hold: orders, and of runs and executions how many in each state."""
    models = [apps.get_model("numflow_django", name) for name in ("FeatureRun", "TaskExecution")]
    states = {model.__name__: Counter(model.objects.values_list("state", flat=True)) for model in models}
    return states | {"Order": apps.get_model("site", "Order").objects.count()}


def populate(finished, pending):
    """Write *finished* runs of the last thirty days with their task log, and *pending* ones that are due tomorrow."""
    from benchmarks.site.producers import PRODUCERS
    from benchmarks.site.work import TASKS
    from numflow_django.models import FeatureRun, TaskExecution

    PRODUCERS["ours"]("0-0")
    run = FeatureRun.objects.get()
    for number, name in enumerate(run.task_names):
        run.executions.create(name=name, position=number, token=1, state="succeeded")
    runs, log = FeatureRun._meta, TaskExecution._meta
    ended = {"state": "'succeeded'", "position": str(TASKS), **dict.fromkeys(MOMENTS, "at")}
    due = {"state": "'pending'", "available_at": "now() + interval '1 day' + i * interval '1 second'"}
    with connection.cursor() as cursor:
        # No foreign key is looked up four million times
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(_copies(runs, ended | {"id": UUID7}), [finished])
        cursor.execute(_copies(runs, due | {"id": UUID7}), [pending])
        names = [field.column for field in log.concrete_fields if not field.primary_key]
        chosen = ", ".join("r.id" if name == "run_id" else f"e.{name}" for name in names)
        cursor.execute(
            f"INSERT INTO {log.db_table} ({', '.join(names)}) SELECT {chosen} FROM {runs.db_table} r "
            f"CROSS JOIN {log.db_table} e WHERE r.state = 'succeeded'"
        )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(f"DELETE FROM {log.db_table} WHERE run_id = %s", [run.pk])
        cursor.execute(f"DELETE FROM {runs.db_table} WHERE id = %s", [run.pk])
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


#: The columns that say when a run was made, begun and ended.
MOMENTS = ("created_at", "available_at", "queued_at", "started_at", "finished_at")

#: A UUIDv7 of the moment ``at``, in SQL.
UUID7 = """(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3)
    || '8' || substr(md5(i::text), 4, 15))::uuid"""


def _copies(meta, changes):
    """SQL that copies the table's one row many times, spread over thirty days."""
    names = [field.column for field in meta.concrete_fields]
    chosen = ", ".join(changes.get(name, f"r.{name}") for name in names)
    return (
        f"INSERT INTO {meta.db_table} ({', '.join(names)}) SELECT {chosen} FROM (SELECT i, "
        "now() - interval '30 days' + i * interval '1 second' AS at FROM generate_series(1, %s) i) s "
        f"CROSS JOIN (SELECT * FROM {meta.db_table} LIMIT 1) r"
    )


def ticks(number):
    """Milliseconds of a relay's tick when nothing is due: the first of a process, and the median of *number* more."""
    from numflow_django.execution.relay import Relay

    relay = Relay()
    times = [_milliseconds(relay.tick) for _ in range(number + 1)]
    return {"first": times[0], "later": median(times[1:])}


def steps(number):
    """Microseconds of a request through a FeatureView of ten steps, and of the ten calls in one function."""
    from benchmarks.site.by_hand import ten_calls
    from numflow_django import feature_urls

    views = {"ours": feature_urls("ten.features")[0].callback, "by hand": ten_calls("ten.features.f0000.steps")}
    times = {name: [] for name in views}
    for turn in range(number + 50):
        # In turn, because the machine's speed drifts
        for name, view in views.items():
            took = _milliseconds(lambda view=view: view(RequestFactory().get("/")))
            if turn >= 50:
                times[name].append(took)
    return {name: median(sample) * 1000 for name, sample in times.items()}


def _milliseconds(call):
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6


COMMANDS = {command.__name__: command for command in (reset, fill, pace, audit, populate, ticks, steps)}


def main():
    """Do what is asked for, until the other end is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anybody prints is no answer
    django.setup()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
