"""A feature inside other transactions, in another database, and without a transaction of its own."""

import pytest
from django.db import connection, connections, transaction

from numflow_django import Retry
from numflow_django.exceptions import TransactionNotCommitted
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted, route

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

SELL = "Sale.objects.create(item='tea')"
DONE = "return HttpResponse('done')"


# What may be around it


@pytest.mark.parametrize(("item", "status", "sales"), [("tea", 201, 1), ("sold out", 409, 0), ("boom", 500, 0)])
def test_atomic_requests_changes_nothing(client, monkeypatch, enqueued, item, status, sales):
    """ATOMIC_REQUESTS=True leaves the feature its own transaction, its dispatch and the log of its rollbacks."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    client.raise_request_exception = False

    answer = client.post("/buy/", {"item": item}, content_type="application/json")

    assert (answer.status_code, Sale.objects.count(), len(enqueued)) == (status, sales, sales)
    assert [run.state for run in FeatureRun.objects.all()] == {
        201: ["queued"], 409: [], 500: ["rolled_back"]
    }[status]  # fmt: skip


def test_a_retry_works_with_atomic_requests(tree, settings, client, monkeypatch, enqueued):
    """ATOMIC_REQUESTS=True: each attempt still has a transaction of its own."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    feature(
        tree,
        f"ctx.n = ctx.get('n', 0) + 1\n{SELL}\nif ctx.n == 1: transaction.set_rollback(True)",
        DONE,
        tasks=["mail"],
        on_error=lambda self, error, ctx, request: Retry(),
    )
    route(tree, settings)

    answer = client.post("/shop/")

    assert (answer.content, Sale.objects.count(), len(enqueued)) == (b"done", 1, 1)


def test_inside_an_outer_block_the_dispatch_waits_for_its_end(tree, enqueued):
    """Inside an outer atomic block the run is dispatched when the outermost block has committed."""
    view = feature(tree, SELL, DONE, tasks=["mail"])

    with transaction.atomic():
        ask(view)
        early = list(enqueued)

    assert early == []
    assert enqueued == [FeatureRun.objects.get().pk]
    assert not enqueued.in_transaction


def test_when_the_outer_block_rolls_back_nothing_is_dispatched(tree, enqueued):
    """Inside an outer atomic block that rolls back, neither work nor run is there, and nothing is dispatched."""
    view = feature(tree, SELL, DONE, tasks=["mail"])

    with transaction.atomic():
        ask(view)
        transaction.set_rollback(True)

    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()
    assert enqueued == []


@pytest.mark.parametrize("end", ["return HttpResponse(status=409)", "raise StepError('sold out')"])
def test_inside_an_outer_block_only_the_feature_rolls_back(tree, enqueued, end):
    """Inside an outer atomic block a refused request rolls back to where it began, and the outer work stands."""
    view = feature(tree, SELL, end, tasks=["mail"])

    with transaction.atomic():
        Sale.objects.create(item="outer")
        ask(view)

    assert [sale.item for sale in Sale.objects.all()] == ["outer"]
    assert enqueued == []


def test_a_retry_inside_an_outer_block_is_dispatched_once(tree, enqueued):
    """A27: inside an outer atomic block, the failed attempts leave no dispatch behind."""
    view = feature(
        tree,
        f"ctx.n = ctx.get('n', 0) + 1\n{SELL}\nif ctx.n < 3: raise OSError('away')",
        DONE,
        tasks=["mail"],
        on_error=lambda self, error, ctx, request: Retry(),
    )

    with transaction.atomic():
        ask(view)

    assert Sale.objects.count() == 1
    assert enqueued == [FeatureRun.objects.get().pk]


@pytest.mark.parametrize("body", [pytest.param("connection.close()"), "transaction.set_rollback(True)"])
def test_inside_an_outer_block_what_cannot_commit_is_an_error_too(tree, enqueued, body):
    """Inside an outer atomic block the feature sees that its work cannot be committed, and does not answer 2xx."""
    view = feature(tree, SELL, body, DONE, tasks=["mail"])

    with pytest.raises(TransactionNotCommitted), transaction.atomic():
        ask(view)

    assert not Sale.objects.exists()
    assert enqueued == []


def test_savepoints_of_the_steps_work(tree, enqueued):
    """A step's own atomic block that rolls back takes only its own work with it."""
    body = f"try:\n    with transaction.atomic():\n        {SELL}\n        raise OSError\nexcept OSError:\n    pass"
    view = feature(tree, SELL, body, DONE, tasks=["mail"])

    ask(view)

    assert Sale.objects.count() == 1
    assert len(enqueued) == 1


# Other databases, and none


def test_the_transaction_and_the_run_are_in_the_features_database(tree, enqueued):
    """With ``using`` the transaction, the run row and the dispatch belong to that database."""
    body = "Sale.objects.using('other').create(item='tea')\nrequest.trail.append(connection.in_atomic_block)"
    view = feature(tree, body, DONE, tasks=["mail"], using="other")
    request = posted()

    ask(view, request)

    assert request.trail == [False]
    assert Sale.objects.using("other").exists()
    assert enqueued == [FeatureRun.objects.using("other").get().pk]
    assert not FeatureRun.objects.exists()


def test_a_rollback_is_in_the_features_database(tree, enqueued):
    """With ``using`` a step that raises rolls that database back, and the log of it is there too."""
    view = feature(tree, "Sale.objects.using('other').create(item='tea')", "raise OSError('away')", using="other")

    with pytest.raises(OSError, match="away"):
        ask(view)

    assert not Sale.objects.using("other").exists()
    assert FeatureRun.objects.using("other").get().state == "rolled_back"


def test_a_run_of_another_database_is_pending_there(tree):
    """With ``using`` a run that could not be dispatched is pending in that database."""
    view = feature(tree, DONE, tasks=["mail"], using="other")

    ask(view)

    assert FeatureRun.objects.using("other").get().state == "pending"


def test_atomic_requests_of_another_database_change_nothing(tree, settings, client, monkeypatch):
    """ATOMIC_REQUESTS=True is switched off for the feature's own database, whichever that is: a rollback is logged."""
    monkeypatch.setitem(connections.settings["other"], "ATOMIC_REQUESTS", True)
    feature(tree, "raise OSError('away')", using="other")
    route(tree, settings)
    client.raise_request_exception = False

    answer = client.post("/shop/")

    assert answer.status_code == 500
    assert FeatureRun.objects.using("other").get().reason == "OSError: away"


@pytest.mark.parametrize("end", ["raise StepError('no')", "return HttpResponse(status=409)", DONE])
def test_without_atomic_each_statement_stands(tree, end):
    """With atomic = False the steps run in autocommit: nothing is rolled back, nothing is logged."""
    view = feature(tree, f"request.trail.append(connection.in_atomic_block)\n{SELL}", end, atomic=False)
    request = posted()

    ask(view, request)

    assert request.trail == [False]
    assert Sale.objects.exists()
    assert not FeatureRun.objects.exists()


def test_without_atomic_an_error_is_not_logged_as_a_rollback(tree):
    """With atomic = False an error is handled as usual, and no row says that anything was rolled back."""
    view = feature(tree, SELL, "raise OSError('away')", atomic=False)

    with pytest.raises(OSError, match="away"):
        ask(view)

    assert not FeatureRun.objects.exists()
