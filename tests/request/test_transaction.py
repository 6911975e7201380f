"""A transaction of which one knows whether it was committed."""

from contextlib import suppress

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from numflow_django.exceptions import TransactionNotCommitted
from numflow_django.request.transaction import commit_block, ensure_committable
from tests.market.models import Sale

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def told():
    """What after_commit received, and whether a transaction was open then."""
    return []


@pytest.fixture
def block(told):
    """A commit_block on a database."""
    return lambda using="default": commit_block(using, lambda: told.append(connections[using].in_atomic_block))


def within(block, *actions):
    with block:
        for action in actions:
            action()


def sell(using="default"):
    Sale.objects.using(using).create(item="tea")


def fail():
    raise OSError("away")


def ensure():
    ensure_committable("default")


@pytest.mark.parametrize("using", ["default", "other"])
def test_after_commit_is_called_once_it_is_committed(block, told, using):
    """after_commit is called after the COMMIT on that database, once."""
    with block(using):
        Sale.objects.using(using).create(item="tea")
        early = list(told)

    assert (early, told) == ([], [False])
    assert Sale.objects.using(using).exists()


def test_an_error_rolls_back(block, told):
    """An error in the body rolls back, is raised as it is, and after_commit is not called."""
    with pytest.raises(OSError, match="away"):
        within(block(), sell, fail)

    assert told == []
    assert not Sale.objects.exists()


def test_a_failed_commit_goes_on_as_it_is(block, told, monkeypatch):
    """An error of the COMMIT itself is raised, and after_commit is not called."""

    def commit():
        raise IntegrityError("refused")

    monkeypatch.setattr(connection, "commit", commit)

    with pytest.raises(IntegrityError, match="refused"):
        within(block(), sell)
    monkeypatch.undo()

    assert told == []
    assert not Sale.objects.exists()


@pytest.mark.parametrize("using", ["default", "other"])
def test_an_end_without_a_commit_is_an_error(block, told, using):
    """A block that Django ends without an error and without a COMMIT raises, and names the database."""
    with pytest.raises(TransactionNotCommitted) as caught:
        within(block(using), lambda: sell(using), lambda: transaction.set_rollback(True, using=using))

    assert str(caught.value) == (
        f"the transaction on {using!r} ended without a COMMIT; the steps' work was rolled back; let no step close the "
        "connection or end the transaction"
    )
    assert told == []
    assert not Sale.objects.using(using).exists()


def test_inside_another_block_the_outermost_counts(block, told):
    """Inside an outer atomic block, after_commit is called when that has committed."""
    with transaction.atomic():
        with block():
            Sale.objects.create(item="tea")
        early = list(told)

    assert (early, told) == ([], [False])


def test_inside_another_block_that_rolls_back_nothing_is_called(block, told):
    """Inside an outer atomic block that rolls back, after_commit is never called."""
    with transaction.atomic():
        with block():
            Sale.objects.create(item="tea")
        transaction.set_rollback(True)

    assert told == []
    assert not Sale.objects.exists()


def test_after_commit_goes_before_other_callbacks(block, told):
    """after_commit is called before the callbacks of the body, also when one of those raises."""
    with pytest.raises(ZeroDivisionError):
        within(block(), lambda: transaction.on_commit(lambda: told.append(1 / 0)))

    assert told == [False]


def test_an_error_of_after_commit_is_logged_only(caplog):
    """An error of after_commit does not surface: what is committed has succeeded."""
    within(commit_block("default", fail), sell)

    assert Sale.objects.exists()
    assert "(away)" in caplog.text


@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_blocks_that_were_left_open_are_rolled_back(block, told, count, outer):
    """An atomic block that the body left open is an error, and the connection is as it was before."""
    with transaction.atomic() if outer else block("other"):
        before = list(connection.atomic_blocks)
        with pytest.raises(TransactionNotCommitted) as caught:
            within(block(), sell, *[lambda: transaction.atomic().__enter__()] * count)

        assert connection.atomic_blocks == before
        assert connection.in_atomic_block == outer

    assert str(caught.value) == (
        "a step left an atomic() block open on 'default'; use it as `with transaction.atomic():`"
    )
    assert not Sale.objects.exists()


# Before the last statement


def test_a_sound_transaction_can_be_committed():
    """A transaction in which nothing is wrong passes, one without a single statement too."""
    within(transaction.atomic(), ensure, sell, ensure)

    assert Sale.objects.exists()


def test_an_error_that_a_savepoint_took_passes():
    """A database error inside an atomic block of its own leaves the transaction sound."""
    with transaction.atomic():
        sale = Sale.objects.create(item="tea")
        with pytest.raises(IntegrityError), transaction.atomic():
            Sale.objects.create(pk=sale.pk)
        ensure_committable("default")

    assert Sale.objects.count() == 1


def test_a_closed_connection_is_found():
    """A connection that was closed in the transaction is an error that says so."""
    with pytest.raises(TransactionNotCommitted) as caught:
        within(transaction.atomic(), connection.close, ensure)

    assert str(caught.value) == (
        "a step closed the connection 'default' in the transaction; the steps' work was rolled back; let no step close "
        "the connection or end the transaction"
    )


def test_a_mark_for_rollback_is_found():
    """A transaction that is marked for rollback is an error that names its two possible causes."""
    with pytest.raises(TransactionNotCommitted) as caught:
        within(transaction.atomic(), lambda: transaction.set_rollback(True), ensure)

    assert str(caught.value) == (
        "the transaction on 'default' is marked for rollback, by set_rollback(True) or because a step caught a "
        "database error; put atomic() around the query that may fail"
    )


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL aborts the transaction")
@pytest.mark.parametrize("statement", ["SELECT 1/0", "SELECT nothing", "INSERT INTO market_sale (id) VALUES (NULL)"])
def test_an_aborted_transaction_is_found(statement):
    """On PostgreSQL a failed statement of any kind aborts the transaction, and its COMMIT would be silent about it."""

    def swallow():
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(statement)

    with pytest.raises(TransactionNotCommitted) as caught:
        within(transaction.atomic(), swallow, ensure)

    assert str(caught.value) == (
        "the transaction on 'default' cannot go on, because a step caught a database error or ended it in SQL; put "
        "atomic() around the query that may fail"
    )


@pytest.mark.skipif(connection.vendor != "sqlite", reason="psycopg begins the next transaction by itself")
@pytest.mark.parametrize("statement", ["ROLLBACK", "COMMIT"])
def test_a_transaction_that_was_ended_in_sql_is_found(statement):
    """On SQLite a transaction that was ended in SQL is an error: its COMMIT would be silent about it."""
    with pytest.raises(TransactionNotCommitted, match="ended it in SQL"):
        within(transaction.atomic(), lambda: connection.cursor().execute(statement), ensure)
