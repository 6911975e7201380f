"""What a driver says about its transaction, and the blocks that were left open."""

from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, transaction

from numflow_django.db import transactions

pytestmark = pytest.mark.django_db(transaction=True)


def fail():
    """Execute a statement that fails, and go on."""
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def test_no_transaction_is_open_by_default():
    """In autocommit no transaction is open, neither after a query nor on a closed connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    after_query = transactions.is_open(connection)
    connection.close()

    assert (after_query, transactions.is_open(connection)) == (False, False)


def test_a_transaction_of_raw_sql_is_open():
    """A transaction that raw SQL began is open, although Django knows nothing of it."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        is_open = transactions.is_open(connection)
        cursor.execute("ROLLBACK")

    assert is_open
    assert not connection.in_atomic_block
    assert not transactions.is_open(connection)


def test_an_error_in_autocommit_aborts_nothing():
    """Outside of a transaction a failed statement leaves nothing aborted."""
    fail()

    assert not transactions.is_aborted(connection)


def test_an_error_aborts_the_transaction_where_the_database_does_so():
    """In a transaction a failed statement aborts it on the databases that are said to do so, and on no other."""
    with transaction.atomic():
        fail()
        found = transactions.is_aborted(connection), transactions.would_commit_nothing(connection)
        transaction.set_rollback(True)

    assert found == (transactions.is_aborted_by_errors(connection),) * 2
    assert transactions.is_aborted_by_errors(connection) is (connection.vendor == "postgresql")


def test_blocks_are_left_down_to_a_depth():
    """The blocks inside the outer ones are rolled back, and the outer ones stay open."""
    with transaction.atomic():
        for _ in range(2):
            transaction.atomic().__enter__()

        left = [transactions.leave_blocks(connection, depth=1) for _ in range(2)]
        depth = len(connection.atomic_blocks)

    assert (left, depth) == ([True, False], 1)
    assert not connection.in_atomic_block


def test_the_end_of_a_transaction_restores_autocommit():
    """A transaction that was begun by switching autocommit off is ended, and the next connection is in autocommit."""
    connection.set_autocommit(False)

    transactions.end(connection)

    assert connection.get_autocommit()
    assert not transactions.is_open(connection)


def test_a_transaction_of_the_caller_is_known_as_such():
    """A transaction is the caller's on the databases that it named, and only within its block."""
    with transactions.inside_callers_transaction(["other"]):
        with transactions.inside_callers_transaction(["default"]):
            inside = transactions.belongs_to_caller(connection)
        between = transactions.belongs_to_caller(connection)

    assert (inside, between) == (True, False)
