"""Runs that are started without a request."""

import json
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from numflow_django import start_run
from numflow_django.db.timestamps import Now
from numflow_django.exceptions import ContextValueError, UnknownFeature
from numflow_django.models import FeatureRun, RunState
from tests.market.models import Sale
from tests.outbox.features import later, registered
from tests.support.serving import ask, feature

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("using", ["default", "other"])
def test_a_run_without_a_request(tree, enqueued, using):
    """start_run writes the run in its feature's database, with the values as its context, and enqueues it."""
    shop = registered(tree, using=using)

    run = start_run(shop.label, {"item": "녹차", "sale": Sale.objects.create(item="tea")})

    row = FeatureRun.objects.using(using).get()
    assert (row, row.feature, row.queue, row.task_names) == (run, shop.label, "default", ["mail", "notify"])
    assert (row.state, row.dispatch_no, row.method, row.path, row.status_code) == (RunState.QUEUED, 1, "", "", None)
    assert row.context.startswith('{"item":"녹차","sale":{')
    assert (enqueued, enqueued.in_transaction) == ([run.pk], False)


@pytest.mark.django_db(transaction=True)
def test_a_run_in_a_transaction_that_commits(shop, enqueued):
    """Inside a transaction the run is enqueued after its COMMIT and not before."""
    with transaction.atomic():
        run = start_run(shop.label)
        before = list(enqueued)

    assert (before, enqueued) == ([], [run.pk])


@pytest.mark.django_db(transaction=True)
def test_a_run_in_a_transaction_that_rolls_back(shop, enqueued):
    """A run that was started in a transaction that rolls back does not exist and is not enqueued."""
    with transaction.atomic():
        start_run(shop.label)
        transaction.set_rollback(True)

    assert not FeatureRun.objects.exists()
    assert enqueued == []


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("status", [200, 409])
def test_a_run_that_a_coroutine_starts(tree, shop, enqueued, status):
    """With sync_to_async, an ``async def`` step starts a run in the transaction of its request."""
    body = "from asgiref.sync import sync_to_async\nfrom numflow_django import start_run\n"
    body += f"ctx.run = str((await sync_to_async(start_run)({shop.label!r}, {{'item': 'tea'}})).pk)\n"
    view = feature(tree, f"{body}response.json({{'run': ctx.run}}, status={status})", folder="caller")

    answer = ask(view)

    run = json.loads(answer.content)["run"]
    kept = [run] if status == 200 else []
    assert [str(row.pk) for row in FeatureRun.objects.exclude(state=RunState.ROLLED_BACK)] == kept
    assert [str(run_id) for run_id in enqueued] == kept


@pytest.mark.django_db(transaction=True)
def test_a_run_that_was_started_while_redis_is_down(shop, enqueued):
    """D5: start_run while Redis is down still returns the run, which is pending for the relay."""
    enqueued.is_down = True

    run = start_run(shop.label)

    assert run.state == RunState.PENDING
    assert FeatureRun.objects.get(pk=run.pk).state == RunState.PENDING


@pytest.mark.parametrize(
    "start",
    [3600, 3600.0, timedelta(hours=1), lambda: timezone.now() + timedelta(hours=1)],
    ids=["int", "float", "timedelta", "datetime"],
)
def test_a_run_that_is_started_later(shop, enqueued, start):
    """start_after is a wait in seconds, a timedelta or an aware datetime; the run waits until then."""
    start_run(shop.label, start_after=start() if callable(start) else start)

    row = FeatureRun.objects.annotate(left=F("available_at") - Now()).get()
    assert (row.state, row.reason, enqueued) == (RunState.WAITING, "waiting for its start time", [])
    assert timedelta(minutes=59) < row.left <= timedelta(hours=1)


@pytest.mark.parametrize("start", [0, timedelta(0), datetime(1999, 1, 1, tzinfo=timezone.get_default_timezone())])
def test_a_run_whose_start_is_not_in_the_future(shop, start):
    """A start_after of zero, or in the past, starts the run at once."""
    assert start_run(shop.label, start_after=start).state == RunState.QUEUED


def test_the_later_of_two_times_counts(tree):
    """A first task with a start_after of its own does not begin before that."""
    shop = later(tree)

    start_run(shop.label, start_after=1)

    assert FeatureRun.objects.filter(available_at__gt=Now() + timedelta(minutes=59)).exists()


def test_a_run_on_another_queue(shop, enqueued):
    """The queue that start_run names replaces the feature's own."""
    assert start_run(shop.label, queue="mail").queue == "mail"


def test_a_feature_that_does_not_exist(shop):
    """start_run with an unknown label raises UnknownFeature with a suggestion."""
    with pytest.raises(UnknownFeature) as caught:
        start_run(shop.label + "s")

    assert str(caught.value) == (
        f"start_run({shop.label + 's'!r}): there is no such feature; did you mean {shop.label!r}?"
    )


def test_a_feature_that_resembles_none(shop):
    """start_run with a label that resembles no feature says where to look."""
    with pytest.raises(UnknownFeature, match=r"there is no such feature; manage.py check shows what is wrong"):
        start_run("xyz")


def test_a_feature_without_async_tasks(tree):
    """start_run of a feature without async tasks says where they belong."""
    view = feature(tree, "pass", folder="bare")
    view.as_view()

    with pytest.raises(UnknownFeature) as caught:
        start_run(view.feature.label)

    assert str(caught.value) == (
        f"start_run({view.feature.label!r}): the feature has no async tasks; "
        "add async_tasks/100_<name>.py to its folder"
    )


NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001 - the mistake


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_after": NAIVE}, f"start_run(start_after={NAIVE!r}): give an aware datetime, with its time zone"),
        ({"start_after": -1}, "start_run(start_after=-1): give zero or more seconds, at most ten years"),
        ({"start_after": "10"}, "start_run(start_after='10'): give zero or more seconds, at most ten years"),
        ({"start_after": 1e300}, "start_run(start_after=1e+300): give zero or more seconds, at most ten years"),
        ({"queue": "post"}, "start_run(queue='post'): RQ_QUEUES has default, mail"),
    ],
    ids=["naive", "negative", "text", "aeons", "queue"],
)
def test_an_invalid_start_or_queue(shop, options, message):
    """An invalid start_after or queue is a ValueError, and no run is written."""
    with pytest.raises(ValueError, match="start_run") as caught:
        start_run(shop.label, **options)

    assert str(caught.value) == message
    assert not FeatureRun.objects.exists()


def test_a_value_that_cannot_be_serialized(shop):
    """D6: a value that cannot be serialized raises before any row is written, and the message says who set it."""
    with pytest.raises(ContextValueError, match=rf"was set by start_run\('{shop.label}'\)"):
        start_run(shop.label, {"item": object()})

    assert not FeatureRun.objects.exists()
