"""The code and the SQL of explanation/scaling.md."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from numflow_django.models import FeatureRun, RunState, TaskExecution
from tests.support.sites import ROOT, python_blocks

PAGE = (ROOT / "docs" / "explanation/scaling.md").read_text(encoding="utf-8")
OPTIONS, ROUTER, SENTINEL = python_blocks(PAGE)
AUTOVACUUM, DELETE, PARTITION, DROP = re.findall(r"^```(?:postgre)?sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's own SQL")
in_database = pytest.mark.django_db


def names_of(block, **given):
    exec(block, given)
    return SimpleNamespace(**given)


def run(*, age=0, state=RunState.SUCCEEDED):
    """A run of so many days ago, with one execution."""
    row = FeatureRun.objects.create(feature="shop.order", queue="default", state=state)
    FeatureRun.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(days=age))
    TaskExecution.objects.create(run=row, name="mail", position=0, token=1, state="succeeded")
    return row


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def partitions():
    """Where the rows are, without the month."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tableoid::regclass::text FROM numflow_django_featurerun")
        return {re.sub(r"[0-9]{6}", "YYYYMM", name) for (name,) in cursor.fetchall()}


@on_postgresql
@in_database
def test_the_timeouts_are_options_of_the_connection():
    """explanation/scaling.md: PostgreSQL's driver and its server take the timeouts."""
    import psycopg

    databases = {"default": {}}
    names_of(OPTIONS, DATABASES=databases)
    where = {"host": connection.settings_dict["HOST"], "port": connection.settings_dict["PORT"] or 5432}
    user = {"user": connection.settings_dict["USER"], "password": connection.settings_dict["PASSWORD"]}

    with psycopg.connect(dbname="postgres", **where, **user, **databases["default"]["OPTIONS"]) as own:
        shown = [own.execute(f"SHOW {name}").fetchone()[0] for name in ("tcp_keepalives_idle", "tcp_user_timeout")]

    assert shown == ["30", "60000"]


def test_the_router_keeps_our_models_on_the_primary():
    """explanation/scaling.md: with its router, runs are read where they are written, and others from the replica."""
    router = names_of(ROUTER).ReadReplica()

    assert [router.db_for_read(model) for model in (FeatureRun, TaskExecution, User)] == ["default"] * 2 + ["replica"]
    assert router.db_for_write(FeatureRun) == "default"


def test_the_sentinels_are_what_django_rq_takes():
    """explanation/scaling.md: django-rq makes of its settings a connection that asks the sentinels."""
    from django_rq.connection_utils import get_redis_connection

    made = get_redis_connection(names_of(SENTINEL).RQ_QUEUES["default"])

    assert made.connection_pool.service_name == "shop"


@on_postgresql
@in_database
def test_old_runs_are_deleted_and_open_ones_are_not():
    """explanation/scaling.md: its DELETE takes runs that ended long ago, with their executions, and no others."""
    execute(AUTOVACUUM)
    kept = [run(), run(age=100, state=RunState.WAITING)]
    run(age=100)

    execute(DELETE)

    assert set(FeatureRun.objects.all()) == set(kept)
    assert TaskExecution.objects.count() == 2


@on_postgresql
@in_database
def test_the_log_by_month():
    """explanation/scaling.md: its SQL carries rows over to partitions, takes new ones, and drops a month."""
    old = run()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(re.sub(r"^(BEGIN|COMMIT);$", "", PARTITION, flags=re.MULTILINE))

    new = run(state=RunState.QUEUED)
    claimed = FeatureRun.objects.claim(new.pk, 0, worker="w1")

    assert claimed
    assert partitions() == {"numflow_featurerun_YYYYMM"}
    assert set(FeatureRun.objects.all()) == {old, new}
    assert list(TaskExecution.objects.values_list("run", flat=True).order_by("id")) == [old.pk, new.pk]

    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(DROP.replace("202611", f"{timezone.now():%Y%m}"))
    run()

    assert partitions() == {"numflow_featurerun_rest"}
