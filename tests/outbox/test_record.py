"""The run row of a request, how it is dispatched, and the log of a rollback."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, connections, transaction
from django.db.models import F

from numflow_django import Context
from numflow_django.exceptions import ContextValueError
from numflow_django.models import FeatureRun, FeatureRunQuerySet, RunState
from numflow_django.outbox.record import enqueue_new_run, record, record_rollback
from numflow_django.signals import request_rolled_back
from tests.market.models import Sale
from tests.outbox.features import later, registered

pytestmark = pytest.mark.django_db(databases=["default", "other"])

REQUEST = {"method": "POST", "path": "/shop/", "status_code": 201, "created_by": "7"}
STEPS = [{"number": 100, "name": "validate", "ms": 0.5}]


# record


def test_the_row_is_inserted_as_queued(shop):
    """The run row is written as queued, with dispatch 1 and the database's time: one INSERT, and no UPDATE after it."""
    ctx = Context(item="녹차")

    run = record(shop, ctx, steps=STEPS, request=REQUEST)

    run = FeatureRun.objects.get(pk=run.pk)
    assert (run.pk, run.feature, run.queue) == (ctx.run_id, shop.label, "default")
    assert (run.state, run.dispatch_no, run.token, run.position) == (RunState.QUEUED, 1, 0, 0)
    assert run.queued_at
    assert (run.context, run.task_names, run.steps) == ('{"item":"녹차"}', ["mail", "notify"], STEPS)
    assert (run.method, run.path, run.status_code, run.created_by) == ("POST", "/shop/", 201, "7")


def test_the_row_costs_one_statement(shop, django_assert_num_queries):
    """A request pays one statement for its run row."""
    with django_assert_num_queries(1):
        record(shop, Context(item="tea"), steps=STEPS, request=REQUEST)


def test_the_row_is_in_the_features_database(tree):
    """The run row is written to the feature's database and to no other."""
    record(registered(tree, using="other"), Context(), steps=STEPS, request=REQUEST)

    assert FeatureRun.objects.using("other").count() == 1
    assert FeatureRun.objects.count() == 0


def test_a_context_that_cannot_be_serialized_writes_nothing(shop):
    """D6: a context that cannot be serialized raises before any row is written."""
    with pytest.raises(ContextValueError, match=r"ctx\.sale is an unsaved market\.Sale"):
        record(shop, Context(sale=Sale(item="tea")), steps=STEPS, request=REQUEST)

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
    """What the client sent fails no INSERT: NUL is replaced, and what is too long is cut in the middle."""
    record(shop, Context(), steps=STEPS, request=REQUEST | facts)

    assert getattr(FeatureRun.objects.get(), name) == kept


# enqueue_new_run


def test_dispatch_enqueues_the_run(shop, enqueued, django_assert_num_queries):
    """Dispatch enqueues the run's id with its first number, queue and total time limit, without a statement."""
    run = record(shop, Context(), steps=STEPS, request=REQUEST)

    with django_assert_num_queries(0):
        enqueue_new_run(shop, run)

    facts = {"run_id": run.pk, "dispatch_no": 1, "queue": "default", "timeout": 660, "feature": shop.label}
    assert (enqueued, enqueued.facts) == ([run.pk], facts)


@pytest.mark.parametrize("using", ["default", "other"])
def test_a_run_that_was_not_enqueued_is_pending(tree, enqueued, using):
    """D5: if a run cannot be enqueued, it turns from queued to pending in its database, for the relay."""
    enqueued.is_down = True
    shop = registered(tree, using=using)
    run = record(shop, Context(), steps=STEPS, request=REQUEST)

    enqueue_new_run(shop, run)

    assert run.state == RunState.PENDING
    run = FeatureRun.objects.using(using).get()
    assert (run.state, run.queued_at, run.dispatch_no) == (RunState.PENDING, None, 1)


def test_a_run_that_a_worker_has_taken_is_left_alone(shop, enqueued):
    """D5: if Redis seemed to fail and a worker has the run all the same, the run stays with the worker."""
    run = record(shop, Context(), steps=STEPS, request=REQUEST)
    FeatureRun.objects.claim(run.pk, 1, worker="w1")
    enqueued.is_down = True

    enqueue_new_run(shop, run)

    assert FeatureRun.objects.get().state == RunState.RUNNING


def test_a_run_that_waits_is_not_enqueued(tree, enqueued):
    """A run whose first task starts later is written as waiting and is not enqueued early."""
    shop = later(tree)
    run = record(shop, Context(), steps=STEPS, request=REQUEST)

    enqueue_new_run(shop, run)

    row = FeatureRun.objects.annotate(wait=F("available_at") - F("created_at")).get()
    assert (enqueued, row.state, row.dispatch_no) == ([], RunState.WAITING, 0)
    assert row.wait == timedelta(hours=1)


# record_rollback


def test_a_rollback_is_logged(shop):
    """D2: the row of a rollback holds steps, reason and the tasks that were not run, and is ended."""
    ctx = Context(card="4111")
    steps = [*STEPS, {"number": 200, "name": "pay", "ms": 1, "error": "OSError: token=abc"}]

    run = record_rollback(shop, ctx, steps=steps, error="OSError: token=abc", request=REQUEST)

    run = FeatureRun.objects.get(pk=run.pk)
    assert (run.pk, run.state, run.reason) == (ctx.run_id, RunState.ROLLED_BACK, "OSError: token=********")
    assert run.steps == [*STEPS, {"number": 200, "name": "pay", "ms": 1, "error": "OSError: token=********"}]
    assert (run.task_names, run.queue, run.context) == (["mail", "notify"], "default", "{}")
    assert (run.queued_at, run.dispatch_no) == (None, 0)
    assert run.finished_at


def test_a_long_reason_is_cut(shop):
    """D2: an error of any length is kept with its beginning and its end."""
    steps = [{"number": 100, "name": "pay", "ms": 1, "error": "x" * 10_000}]

    run = record_rollback(shop, Context(), steps=steps, error="a" + "x" * 10_000 + "z", request=REQUEST)

    run.refresh_from_db()
    assert (len(run.reason), run.reason[0], run.reason[-1]) == (2000, "a", "z")
    assert len(run.steps[0]["error"]) == 2000


def test_a_rollback_is_signalled(shop):
    """D2: request_rolled_back is sent with the row; a receiver that raises changes nothing."""
    runs = []

    def fail(run, **facts):
        runs.append(run)
        raise OSError("down")

    request_rolled_back.connect(fail)

    run = record_rollback(shop, Context(), steps=[], error="OSError", request=REQUEST)

    assert runs == [run]


def test_a_rollback_that_cannot_be_logged_is_none(shop, monkeypatch, caplog):
    """D2: if the row cannot be written the result is None, a warning says why, and no signal is sent."""
    ctx = Context()
    record_rollback(shop, ctx, steps=[], error="first", request=REQUEST)
    runs = []
    monkeypatch.setattr(request_rolled_back, "send_robust", lambda **facts: runs.append(facts))

    second = record_rollback(shop, ctx, steps=[], error="second", request=REQUEST)

    assert (second, runs) == (None, [])
    assert f"rollback not logged run={ctx.run_id} feature={shop.label} error=IntegrityError(" in caplog.text
    assert FeatureRun.objects.get().reason == "first"


def test_a_rollback_that_cannot_be_logged_leaves_the_outer_block_sound(shop):
    """D2: inside an outer atomic block, a row that cannot be written does not spoil the work around it."""
    ctx = Context()
    record_rollback(shop, ctx, steps=[], error="first", request=REQUEST)

    record_rollback(shop, ctx, steps=[], error="second", request=REQUEST)

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
            record(shop, Context(), steps=STEPS, request=REQUEST)
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
        record(shop, Context(), steps=STEPS, request=REQUEST)

    assert bool(getattr(caught.value, "__notes__", [])) is has_note
