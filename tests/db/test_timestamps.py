"""One format of times on each database: equal times are equal, whether the database or Django wrote them."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from time import monotonic

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import CharField, F
from django.db.models.functions import Cast
from django.db.models.functions import Now as DjangoNow

from numflow_django.db.timestamps import Now, TimestampField
from numflow_django.execution.pages import PAGE, pages
from numflow_django.models import FeatureRun, RunState

pytestmark = pytest.mark.django_db

on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite compares times as text")

#: A time whose fraction is zero: str() leaves it out.
WHOLE = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


def run_row(**fields):
    defaults = {"feature": "market.buy", "queue": "default", "state": RunState.PENDING, "task_names": ["mail"]}
    return FeatureRun.objects.create(**defaults | fields)


def text_of(run, column="available_at"):
    """The text of a time in SQLite."""
    return FeatureRun.objects.annotate(text=Cast(column, CharField())).values_list("text", flat=True).get(pk=run.pk)


@on_sqlite
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"available_at": Now()},
        {"available_at": Now(0.0)},
        {"available_at": Now(5)},
        {"available_at": Now(-0.25)},
        {"available_at": WHOLE},
        {"available_at": WHOLE + timedelta(milliseconds=5)},
        {"available_at": WHOLE + timedelta(microseconds=5)},
    ],
    ids=["default", "now", "no wait", "wait", "past", "whole second", "milliseconds", "microseconds"],
)
def test_a_time_is_written_with_six_digits(fields):
    """SQLite's text of a time has six digits after the second, from the database's clock and from a parameter."""
    row = run_row(**fields)

    assert len(text_of(row)) == len("2026-11-29 12:00:00.000000")


def test_a_time_in_the_future_can_be_subtracted():
    """The seconds belong to the time, also after a minus sign: now minus (now plus an hour) is minus an hour."""
    run_row()

    [wait] = FeatureRun.objects.annotate(wait=F("created_at") - Now(3600.0)).values_list("wait", flat=True)

    assert wait < timedelta(minutes=-50)


def test_a_parameter_equals_what_it_wrote():
    """A time is found by its value, also one without a fraction, and is neither before nor after itself."""
    run_row(available_at=WHOLE)

    runs = FeatureRun.objects.all()

    assert runs.filter(available_at=WHOLE).count() == 1
    assert runs.filter(available_at__gte=WHOLE, available_at__lte=WHOLE).count() == 1
    assert not runs.filter(available_at__gt=WHOLE).exists()
    assert not runs.filter(available_at__lt=WHOLE).exists()


def test_the_clock_goes_forward_and_back():
    """Now(seconds) is so many seconds after the database's clock, or before it."""
    row = run_row(available_at=Now(90.5), queued_at=Now(-90.5), created_at=Now())

    row.refresh_from_db()

    assert row.available_at - row.queued_at == pytest.approx(timedelta(seconds=181), abs=timedelta(milliseconds=2))
    assert abs(row.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_run_without_a_wait_is_due_at_once():
    """A run with a wait of zero seconds is due in the next statement, also within the same millisecond."""
    row = run_row(state=RunState.WAITING)

    for _ in range(200):
        FeatureRun.objects.filter(pk=row.pk).update(available_at=Now(0.0))
        assert FeatureRun.objects.due().exists()


def test_pages_show_each_run_once():
    """A sweep in pages sees each of the runs that became due at the same time, and none of them twice."""
    FeatureRun.objects.bulk_create(
        FeatureRun(feature="market.buy", queue="default", state=RunState.PENDING, task_names=["mail"])
        for _ in range(2 * PAGE + 50)
    )
    FeatureRun.objects.update(available_at=Now())

    seen = [run.pk for page in pages(FeatureRun.objects.due(), monotonic() + 60) for run in page]

    assert len(seen) == 2 * PAGE + 50
    assert len(set(seen)) == len(seen)


@on_sqlite
def test_the_migration_rewrites_the_times_of_earlier_versions():
    """A row that an earlier version wrote, with three digits or none, has six after the migration."""
    row = run_row(available_at=WHOLE)
    FeatureRun.objects.update(queued_at=DjangoNow())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE numflow_django_featurerun SET available_at = '2026-11-29 12:00:00'")

    migration = import_module("numflow_django.migrations.0003_one_form_of_times")
    migration.write_six_digits(apps, connection.schema_editor(atomic=False))

    assert text_of(row) == "2026-11-29 12:00:00.000000"
    assert len(text_of(row, "queued_at")) == len("2026-11-29 12:00:00.000000")


def test_the_schema_knows_a_plain_time():
    """Migrations see Django's own field, because they outlive this class."""
    _, path, _, _ = TimestampField().deconstruct()

    assert path == "django.db.models.DateTimeField"
