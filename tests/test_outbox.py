"""The run row, its dispatch, and the log of a rollback, without a request around them."""

import pytest
from django.db import connection

from numflow_django import Context, outbox
from numflow_django.exceptions import ContextValueError
from numflow_django.models import FeatureRun, RunState
from numflow_django.signals import request_rolled_back
from tests.market.models import Sale
from tests.serving import Bell, feature

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
    """D6: a context that cannot travel raises before any row is written."""
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
    """Dispatch rings with the run's id, its first number, its queue and the limit of all its tasks; no statement."""
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)

    with django_assert_num_queries(0):
        outbox.dispatch(shop, run)

    facts = {"run_id": run.pk, "dispatch_no": 1, "queue": "default", "timeout": 660, "feature": shop.label}
    assert (bell, bell.facts) == ([run.pk], facts)


@pytest.mark.parametrize("using", ["default", "other"])
def test_a_run_that_was_not_rung_for_is_pending(tree, bell, using):
    """D5: when the bell does not ring, the run turns from queued to pending in its database, for the relay."""
    bell.rings = False
    shop = registered(tree, using=using)
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)

    outbox.dispatch(shop, run)

    run = FeatureRun.objects.using(using).get()
    assert (run.state, run.queued_at, run.dispatch_no) == (RunState.PENDING, None, 1)


def test_a_run_that_a_worker_has_taken_is_left_alone(shop, bell):
    """D5: when the bell rang after all and a worker has the run, it stays the worker's."""
    run = outbox.record(shop, Context(), steps=STEPS, request=REQUEST)
    FeatureRun.objects.claim(run.pk, 1, worker="w1")
    bell.rings = False

    outbox.dispatch(shop, run)

    assert FeatureRun.objects.get().state == RunState.RUNNING


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
    """D2: when the row cannot be written there is none, a warning tells why, and nobody is signalled."""
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
