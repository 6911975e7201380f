"""The transaction of a request: what COMMIT means, what may be around it, and what happens when there is none."""

from contextlib import suppress

import pytest
from django.db import IntegrityError, connection
from django.http import HttpResponse

from numflow_django.exceptions import TransactionNotCommitted
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

SELL = "Sale.objects.create(item='tea')"
DONE = "return HttpResponse('done')"

# Refused by the database at COMMIT and no sooner: the foreign keys of both databases are deferred
REFUSED_AT_COMMIT = """\
from numflow_django.models import TaskExecution
TaskExecution.objects.create(run_id=ctx.run_id, name="x", position=0, token=0, state="lost")
"""


# After COMMIT


def test_tasks_are_dispatched_after_the_commit(tree, enqueued):
    """The run is dispatched when its row is committed, and no sooner."""
    view = feature(tree, SELL, DONE, tasks=["mail"])

    ask(view)

    assert enqueued == [FeatureRun.objects.get().pk]
    assert not enqueued.in_transaction


def test_redis_being_away_changes_nothing_in_the_answer(tree, caplog):
    """D5: with Redis unreachable the answer is the same, the failure is logged, and the run is pending."""
    view = feature(tree, SELL, "return HttpResponse('done', status=201)", tasks=["mail"])

    answer = ask(view)

    run = FeatureRun.objects.get()
    assert (answer.status_code, answer["Numflow-Run"]) == (201, str(run.pk))
    assert (run.state, run.queued_at, run.dispatch_no) == ("pending", None, 1)
    assert f"dispatch failed run={run.pk} feature={tree.package}.shop" in caplog.text


def test_a_dispatch_that_raises_changes_nothing_in_the_answer(tree, enqueued, monkeypatch, caplog):
    """D5: every error after COMMIT is logged and leaves the run queued, for the relay to find."""

    def broken(run):
        raise RuntimeError("out of file descriptors")

    enqueued.is_down = True
    monkeypatch.setattr(FeatureRun, "undispatch", broken)
    view = feature(tree, SELL, DONE, tasks=["mail"])

    answer = ask(view)

    assert answer.content == b"done"
    assert FeatureRun.objects.get().state == "queued"
    assert "out of file descriptors" in caplog.text


def test_a_callback_of_the_users_that_raises_undoes_nothing(tree, enqueued):
    """An on_commit callback that raises surfaces with a note; committed is committed, dispatched, and not retried."""
    view = feature(
        tree,
        f"{SELL}\ntransaction.on_commit(lambda: 1 / 0)",
        DONE,
        tasks=["mail"],
        on_error=lambda self, error, ctx, request: pytest.fail("asked"),
    )

    with pytest.raises(ZeroDivisionError) as caught:
        ask(view)

    run = FeatureRun.objects.get()
    assert caught.value.__notes__[:-1] == [
        "raised by an on_commit callback: the transaction stands, and its async tasks run"
    ]
    assert Sale.objects.exists()
    assert (run.state, enqueued) == ("queued", [run.pk])


def test_the_dispatch_goes_before_callbacks_of_the_users(tree, enqueued):
    """The run is dispatched before the on_commit callbacks that the steps have registered."""
    request = posted()
    enqueued.watch = lambda: request.trail.append("dispatch")
    view = feature(tree, "transaction.on_commit(lambda: request.trail.append('callback'))", SELL, DONE, tasks=["mail"])

    ask(view, request)

    assert request.trail == ["dispatch", "callback"]


# No COMMIT


defers = pytest.mark.skipif(
    "not connection.features.can_defer_constraint_checks", reason="MariaDB checks foreign keys at once"
)


@pytest.mark.parametrize("how", [pytest.param("by the database", marks=defers), "by the driver"])
def test_a_failed_commit_is_an_error(tree, enqueued, monkeypatch, how):
    """A COMMIT that fails is never a 2xx: the error names the feature, nothing is there, nothing is dispatched."""

    def commit():
        raise IntegrityError("refused")

    view = feature(tree, SELL, REFUSED_AT_COMMIT if how == "by the database" else "pass", DONE)
    if how == "by the driver":
        monkeypatch.setattr(connection, "commit", commit)

    with pytest.raises(IntegrityError) as caught:
        ask(view)
    monkeypatch.undo()

    assert caught.value.__notes__[0] == f"feature {tree.package}.shop, outside its steps"
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.filter(state="queued").exists()
    assert enqueued == []


def test_on_error_answers_a_failed_commit(tree, enqueued, monkeypatch):
    """A26: on_error is called for a COMMIT that fails; the response of the steps is not sent."""

    def commit():
        raise IntegrityError("refused")

    view = feature(
        tree,
        SELL,
        DONE,
        tasks=["mail"],
        on_error=lambda self, error, ctx, request: HttpResponse(f"sorry: {error}", status=503),
    )
    monkeypatch.setattr(connection, "commit", commit)

    answer = ask(view)
    monkeypatch.undo()

    assert (answer.status_code, answer.content) == (503, b"sorry: refused")
    assert not FeatureRun.objects.exists()


@pytest.mark.parametrize("tasks", [[], ["mail"]])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            "connection.close()",
            "a step closed the connection 'default' in the transaction; the steps' work was rolled ",
        ),
        (
            "transaction.set_rollback(True)",
            "the transaction on 'default' is marked for rollback, by set_rollback(True)",
        ),
        (
            "sale = Sale.objects.create(item='tea')\n"
            "try:\n    Sale.objects.create(pk=sale.pk)\nexcept IntegrityError:\n    pass",
            "the transaction on 'default' is marked for rollback, by set_rollback(True) or because a step caught a ",
        ),
        ("transaction.atomic().__enter__()", "a step left an atomic() block open on 'default'; use it as `with "),
    ],
    ids=["closed", "marked", "swallowed", "left open"],
)
def test_a_transaction_that_cannot_commit_is_an_error(tree, enqueued, body, message, tasks):
    """What a step did to the transaction is an error that says what and how to fix it, never a 2xx."""
    view = feature(tree, SELL, body, DONE, tasks=tasks)

    with pytest.raises(TransactionNotCommitted) as caught:
        ask(view)

    assert str(caught.value).startswith(message)
    assert caught.value.__notes__[:-1] == [f"feature {tree.package}.shop, outside its steps"]
    assert not Sale.objects.exists()
    assert enqueued == []


SWALLOWED_SQL = """\
Sale.objects.create(item='tea')
try:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO market_sale (id, item, quantity) SELECT id, item, quantity FROM market_sale")
except IntegrityError:
    pass
"""


def test_a_database_error_that_was_swallowed_in_sql_is_no_commit(tree):
    """On PostgreSQL a transaction in which a statement failed cannot commit: an error; SQLite's goes on and commits."""
    view = feature(tree, SWALLOWED_SQL, DONE)
    aborted = connection.vendor == "postgresql"

    try:
        answer = ask(view)
    except TransactionNotCommitted as error:
        answer = error

    assert Sale.objects.exists() == isinstance(answer, HttpResponse) == (not aborted)
    assert ("cannot go on, because a step caught a database error or ended it in SQL" in str(answer)) == aborted


@pytest.mark.skipif(connection.vendor != "sqlite", reason="psycopg begins the next transaction by itself")
@pytest.mark.parametrize("statement", ["ROLLBACK", "COMMIT"])
def test_a_transaction_that_a_step_ended_in_sql_is_an_error(tree, statement):
    """A step that ends the transaction in SQL is an error, never a 2xx for work that is half committed."""
    view = feature(tree, SELL, f"with connection.cursor() as cursor:\n    cursor.execute('{statement}')", DONE)

    with pytest.raises(TransactionNotCommitted, match="because a step caught a database error or ended it in SQL"):
        ask(view)


@pytest.mark.parametrize("end", ["", "\nraise OSError('away')", "\nreturn HttpResponse(status=409)"])
def test_a_block_that_a_step_left_open_does_not_swallow_the_next_request(tree, enqueued, end):
    """However a request with a forgotten atomic() block ends, the thread's next request really commits."""
    bad = feature(tree, f"{SELL}\ntransaction.atomic().__enter__(){end}", DONE, folder="bad")
    good = feature(tree, SELL, DONE, tasks=["mail"], folder="good")
    with suppress(TransactionNotCommitted, OSError):
        ask(bad)

    answer = ask(good)

    connection.close()
    assert answer.content == b"done"
    assert Sale.objects.count() == 1
    assert enqueued == [FeatureRun.objects.get(state="queued").pk]


def test_a_swallowed_error_in_a_block_of_its_own_is_fine(tree, enqueued):
    """A query that may fail, in an atomic() of its own, costs its own work only: the request commits."""
    view = feature(
        tree,
        f"{SELL}\nsale = Sale.objects.get()",
        "try:\n    with transaction.atomic():\n        Sale.objects.create(pk=Sale.objects.get().pk)\n"
        "except IntegrityError:\n    pass",
        DONE,
        tasks=["mail"],
    )

    answer = ask(view)

    assert answer.content == b"done"
    assert Sale.objects.count() == 1
    assert len(enqueued) == 1
