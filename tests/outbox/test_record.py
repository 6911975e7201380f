"""The run row, how it is enqueued, runs without a request, and the log of a rollback."""

import json
from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from numflow_django import Context, start_run
from numflow_django.db.timestamps import Now
from numflow_django.exceptions import ContextValueError, UnknownFeature
from numflow_django.models import FeatureRun, FeatureRunQuerySet, RunState
from numflow_django.outbox import record as outbox
from numflow_django.signals import request_rolled_back
from tests.market.models import Sale
from tests.support.serving import Bell, ask, feature

pytestmark = pytest.mark.django_db(databases=["default", "other"])

REQUEST = {"method": "POST", "path": "/shop/", "status_code": 201, "created_by": "7"}
STEPS = [{"number": 100, "name": "validate", "ms": 0.5}]


@pytest.fixture
def shop(tree):
    """A feature with two async tasks."""
    return registered(tree)


def registered(tree, **attributes):
    view = feature(tree, "pass", tasks=["mail", "notify"], **attributes)
    view.as_view()
    return view.feature


@pytest.fixture
def bell(monkeypatch):
    bell = Bell()
    monkeypatch.setattr(outbox, "ring", bell)
    return bell


# record


def test_the_row_is_born_queued(shop):
    """The run row is written as queued, with dispatch 1 and the database's time: one INSERT, and no UPDATE after it."""
    ctx = Context(item="녹차")

    run = outbox.record(shop, ctx, steps=STEPS, request=REQUEST)

    run = FeatureRun.objects.get(pk=run.pk)
    assert (run.pk, run.feature, run.queue) == (ctx.run_id, shop.label, "default")
    assert (run.state, run.dispatch_no, run.token, run.position) == (RunState.QUEUED, 1, 0, 0)
    assert run.queued_at
    assert (run.context, run.task_names, run.steps) == ('{"item":"녹차"}', ["mail", "notify"], STEPS)
    assert (run.method, run.path, run.status_code, run.created_by) == ("POST", "/shop/", 201, "7")


def test_the_row_costs_one_statement(shop, django_assert_num_queries):
    """A request pays one statement for its run row."""
    with django_assert_num_queries(1):
        outbox.record(shop, Context(item="tea"), steps=STEPS, request=REQUEST)


def test_the_row_is_in_the_features_database(tree):
    """The run row is written to the feature's database and to no other."""
    outbox.record(registered(tree, using="other"), Context(), steps=STEPS, request=REQUEST)

    assert FeatureRun.objects.using("other").count() == 1
    assert FeatureRun.objects.count() == 0


def test_a_context_that_cannot_travel_writes_nothing(shop):
    """D6: a context that cannot be serialized raises before any row is written."""
    with pytest.raises(ContextValueError, match=r"ctx\.sale is an unsaved market\.Sale"):
        outbox.record(shop, Context(sale=Sale(item="tea")), steps=STEPS, request=REQUEST)

    assert not FeatureRun.objects.exists()


@pytest.mark.parametrize(
    ("facts", "name", "kept"),
    [
        ({"path": "/\x00"}, "path", "/\N{REPLACEMENT CHARACTER}"),
        ({"path": "x" * 1000}, "path", "x" * 125 + " [...] " + "x" * 368),
        ({"created_by": "k" * 254}, "created_by", "k" * 50 + " [...] " + "k" * 143),
        ({"created_by": "7\x00"}, "created_by", "7\N{REPLACEMENT CHARACTER}"),
    ],
    ids=["NUL in the path", "long path", "long key", "NUL in the key"],
)
def test_what_a_column_cannot_hold_is_cut(shop, facts, name, kept):
    """What the client sent fails no INSERT: NUL is replaced, and what is too long gives way in the middle."""
    outbox.record(shop, Context(), steps=STEPS, request=REQUEST | facts)

    assert getattr(FeatureRun.objects.get(), name) == kept


# dispatch


def test_dispatch_rings_for_the_run(shop, bell, django_assert_num_queries):
    """Dispatch enqueues the run's id with its first number, queue and total time limit, without a statement."""
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)

    with django_assert_num_queries(0):
        outbox.dispatch(shop, run)

    facts = {"run_id": run.pk, "dispatch_no": 1, "queue": "default", "timeout": 660, "feature": shop.label}
    assert (bell, bell.facts) == ([run.pk], facts)


@pytest.mark.parametrize("using", ["default", "other"])
def test_a_run_that_was_not_rung_for_is_pending(tree, bell, using):
    """D5: if a run cannot be enqueued, it turns from queued to pending in its database, for the relay."""
    bell.rings = False
    shop = registered(tree, using=using)
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)

    outbox.dispatch(shop, run)

    assert run.state == RunState.PENDING
    run = FeatureRun.objects.using(using).get()
    assert (run.state, run.queued_at, run.dispatch_no) == (RunState.PENDING, None, 1)


def test_a_run_that_a_worker_has_taken_is_left_alone(shop, bell):
    """D5: if the run was enqueued after all and a worker has it, the run stays with the worker."""
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)
    FeatureRun.objects.claim(run.pk, 1, worker="w1")
    bell.rings = False

    outbox.dispatch(shop, run)

    assert FeatureRun.objects.get().state == RunState.RUNNING


def test_a_run_that_waits_is_not_rung_for(tree, bell):
    """A run whose first task starts later is written as waiting and is not enqueued early."""
    shop = later(tree)
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)

    outbox.dispatch(shop, run)

    row = FeatureRun.objects.annotate(wait=F("available_at") - F("created_at")).get()
    assert (bell, row.state, row.dispatch_no) == ([], RunState.WAITING, 0)
    assert row.wait == timedelta(hours=1)


# start_run


def later(tree):
    """A feature whose first task starts after an hour."""
    task = "from numflow_django import async_task\n\n@async_task(start_after=3600)\ndef mail(ctx):\n    pass\n"
    answer = "def respond(ctx, request, response):\n    response.json({})\n"
    tree.feature("later", steps={"100_respond.py": answer}, tasks={"100_mail.py": task})
    view = tree.view("later")
    view.as_view()
    return view.feature


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("using", ["default", "other"])
def test_a_run_without_a_request(tree, bell, using):
    """start_run writes the run in its feature's database, with the values as its context, and enqueues it."""
    shop = registered(tree, using=using)

    run = start_run(shop.label, {"item": "녹차", "sale": Sale.objects.create(item="tea")})

    row = FeatureRun.objects.using(using).get()
    assert (row, row.feature, row.queue, row.task_names) == (run, shop.label, "default", ["mail", "notify"])
    assert (row.state, row.dispatch_no, row.method, row.path, row.status_code) == (RunState.QUEUED, 1, "", "", None)
    assert row.context.startswith('{"item":"녹차","sale":{')
    assert (bell, bell.in_transaction) == ([run.pk], False)


@pytest.mark.django_db(transaction=True)
def test_a_run_in_a_transaction_that_commits(shop, bell):
    """Inside a transaction the run is enqueued after its COMMIT and not before."""
    with transaction.atomic():
        run = start_run(shop.label)
        before = list(bell)

    assert (before, bell) == ([], [run.pk])


@pytest.mark.django_db(transaction=True)
def test_a_run_in_a_transaction_that_rolls_back(shop, bell):
    """A run that was started in a transaction that rolls back does not exist and is not enqueued."""
    with transaction.atomic():
        start_run(shop.label)
        transaction.set_rollback(True)

    assert not FeatureRun.objects.exists()
    assert bell == []


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("status", [200, 409])
def test_a_run_that_a_coroutine_starts(tree, shop, bell, status):
    """With sync_to_async, an ``async def`` step starts a run in the transaction of its request."""
    body = "from asgiref.sync import sync_to_async\nfrom numflow_django import start_run\n"
    body += f"ctx.run = str((await sync_to_async(start_run)({shop.label!r}, {{'item': 'tea'}})).pk)\n"
    view = feature(tree, f"{body}response.json({{'run': ctx.run}}, status={status})", folder="caller")

    answer = ask(view)

    run = json.loads(answer.content)["run"]
    kept = [run] if status == 200 else []
    assert [str(row.pk) for row in FeatureRun.objects.exclude(state=RunState.ROLLED_BACK)] == kept
    assert [str(rung) for rung in bell] == kept


@pytest.mark.django_db(transaction=True)
def test_a_run_that_was_started_while_redis_is_away(shop, bell):
    """D5: start_run while Redis is down still returns the run, which is pending for the relay."""
    bell.rings = False

    run = start_run(shop.label)

    assert run.state == RunState.PENDING
    assert FeatureRun.objects.get(pk=run.pk).state == RunState.PENDING


@pytest.mark.parametrize(
    "start",
    [3600, 3600.0, timedelta(hours=1), lambda: timezone.now() + timedelta(hours=1)],
    ids=["int", "float", "timedelta", "datetime"],
)
def test_a_run_that_is_started_later(shop, bell, start):
    """start_after is a wait in seconds, a timedelta or an aware datetime; the run waits until then."""
    start_run(shop.label, start_after=start() if callable(start) else start)

    row = FeatureRun.objects.annotate(left=F("available_at") - Now()).get()
    assert (row.state, row.reason, bell) == (RunState.WAITING, "not before its time", [])
    assert timedelta(minutes=59) < row.left <= timedelta(hours=1)


@pytest.mark.parametrize("start", [0, timedelta(0), datetime(1999, 1, 1, tzinfo=timezone.get_default_timezone())])
def test_a_run_whose_time_has_come(shop, start):
    """A start_after of nothing, or in the past, is at once."""
    assert start_run(shop.label, start_after=start).state == RunState.QUEUED


def test_the_later_of_two_times_counts(tree):
    """A first task with a start_after of its own does not begin before that."""
    shop = later(tree)

    start_run(shop.label, start_after=1)

    assert FeatureRun.objects.filter(available_at__gt=Now() + timedelta(minutes=59)).exists()


def test_a_run_on_another_queue(shop, bell):
    """The queue that start_run names takes the place of the feature's own."""
    assert start_run(shop.label, queue="mail").queue == "mail"


def test_a_feature_that_does_not_exist(shop):
    """start_run with an unknown label raises UnknownFeature with a suggestion."""
    with pytest.raises(UnknownFeature) as caught:
        start_run(shop.label + "s")

    assert str(caught.value) == (
        f"start_run({shop.label + 's'!r}): there is no such feature; did you mean {shop.label!r}?"
    )


def test_a_feature_that_resembles_none(shop):
    """start_run of a label that resembles none says where to look."""
    with pytest.raises(UnknownFeature, match=r"there is no such feature; manage.py check tells what is wrong"):
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
def test_a_start_that_makes_no_sense(shop, options, message):
    """A start_after or queue that makes no sense is a ValueError, and no run is written."""
    with pytest.raises(ValueError, match="start_run") as caught:
        start_run(shop.label, **options)

    assert str(caught.value) == message
    assert not FeatureRun.objects.exists()


def test_a_value_that_cannot_travel(shop):
    """D6: a value that cannot be serialized raises before any row is written, and the message says who set it."""
    with pytest.raises(ContextValueError, match=rf"was set by start_run\('{shop.label}'\)"):
        start_run(shop.label, {"item": object()})

    assert not FeatureRun.objects.exists()


# record_rollback


def test_a_rollback_is_logged(shop):
    """D2: the row of a rollback holds steps, reason and the tasks that were not run, and is ended."""
    ctx = Context(card="4111")
    steps = [*STEPS, {"number": 200, "name": "pay", "ms": 1, "error": "OSError: token=abc"}]

    run = outbox.record_rollback(shop, ctx, steps=steps, error="OSError: token=abc", request=REQUEST)

    run = FeatureRun.objects.get(pk=run.pk)
    assert (run.pk, run.state, run.reason) == (ctx.run_id, RunState.ROLLED_BACK, "OSError: token=********")
    assert run.steps == [*STEPS, {"number": 200, "name": "pay", "ms": 1, "error": "OSError: token=********"}]
    assert (run.task_names, run.queue, run.context) == (["mail", "notify"], "default", "{}")
    assert (run.queued_at, run.dispatch_no) == (None, 0)
    assert run.finished_at


def test_a_long_reason_is_cut(shop):
    """D2: an error of any length is kept with its beginning and its end."""
    steps = [{"number": 100, "name": "pay", "ms": 1, "error": "x" * 10_000}]

    run = outbox.record_rollback(shop, Context(), steps=steps, error="a" + "x" * 10_000 + "z", request=REQUEST)

    run.refresh_from_db()
    assert (len(run.reason), run.reason[0], run.reason[-1]) == (2000, "a", "z")
    assert len(run.steps[0]["error"]) == 2000


def test_a_rollback_is_signalled(shop):
    """D2: request_rolled_back is sent with the row; a receiver that raises changes nothing."""
    runs = []

    def fail(run, **facts):
        runs.append(run)
        raise OSError("away")

    request_rolled_back.connect(fail)

    run = outbox.record_rollback(shop, Context(), steps=[], error="OSError", request=REQUEST)

    assert runs == [run]


def test_a_rollback_that_cannot_be_logged_is_none(shop, monkeypatch, caplog):
    """D2: if the row cannot be written the result is None, a warning says why, and no signal is sent."""
    ctx = Context()
    outbox.record_rollback(shop, ctx, steps=[], error="first", request=REQUEST)
    runs = []
    monkeypatch.setattr(outbox.request_rolled_back, "send_robust", lambda **facts: runs.append(facts))

    second = outbox.record_rollback(shop, ctx, steps=[], error="second", request=REQUEST)

    assert (second, runs) == (None, [])
    assert f"rollback not logged run={ctx.run_id} feature={shop.label} error=IntegrityError(" in caplog.text
    assert FeatureRun.objects.get().reason == "first"


def test_a_rollback_that_cannot_be_logged_leaves_the_outer_block_sound(shop):
    """D2: inside an outer atomic block, a row that cannot be written does not spoil the work around it."""
    ctx = Context()
    outbox.record_rollback(shop, ctx, steps=[], error="first", request=REQUEST)

    outbox.record_rollback(shop, ctx, steps=[], error="second", request=REQUEST)

    assert not connection.needs_rollback
    assert Sale.objects.create(item="tea").pk


# Without our tables


@pytest.mark.skipif(not connection.features.can_rollback_ddl, reason="the table would stay renamed")
def test_a_row_that_finds_no_table_says_which_command_makes_it(tree):
    """Where the run tables are missing, the error of the INSERT has a note with the command."""
    shop = registered(tree, using="other")
    connection = connections["other"]
    name = connection.ops.quote_name(FeatureRun._meta.db_table)

    with transaction.atomic(using="other"):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {name} RENAME TO hidden")
        with pytest.raises(DatabaseError) as caught:
            start_run(shop.label)
        transaction.set_rollback(True, using="other")

    assert caught.value.__notes__ == [
        "the run tables in DATABASES['other'] are missing or old: run manage.py migrate --database other; if that does "
        "not help, run manage.py check --database other"
    ]


@pytest.mark.parametrize(
    ("error", "has_note"),
    [
        (ProgrammingError(1146, "Table 'x.numflow_django_featurerun' doesn't exist"), True),
        (OperationalError(1054, "Unknown column 'resume' in 'INSERT INTO'"), True),
        (OperationalError("table numflow_django_featurerun has no column named resume"), True),
        (OperationalError(2006, "Server has gone away"), False),
        (OperationalError(), False),
    ],
    ids=str,
)
def test_an_error_of_another_kind_has_no_such_note(shop, monkeypatch, error, has_note):
    """A table or a column that is missing, as MariaDB and SQLite say it, has the note; another error has none."""

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(FeatureRunQuerySet, "create_run", fail)

    with pytest.raises(type(error)) as caught:
        start_run(shop.label)

    assert bool(getattr(caught.value, "__notes__", [])) is has_note
