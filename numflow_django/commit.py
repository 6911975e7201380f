"""A transaction of which one knows whether it was committed; ``atomic`` alone leaves that open in some cases."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, connections, transaction

from .exceptions import TransactionNotCommitted

_REMEDY = "the steps' work was rolled back; let no step close the connection or end the transaction"


@contextmanager
def commit_block(using: str, after_commit: Callable[[], None]) -> Iterator[None]:
    """
    Run the body in ``atomic(using)`` and call *after_commit* once it is really committed, before other callbacks.

    Inside an outer ``atomic`` block, that is after the outermost one. Raise TransactionNotCommitted where ``atomic``
    ends without an error and without a COMMIT.
    """
    outermost = not connections[using].in_atomic_block
    committed = False

    def on_commit() -> None:
        nonlocal committed
        committed = True
        after_commit()

    with transaction.atomic(using=using):
        # Registered first: a callback of the user's that raises makes Django drop those behind it
        transaction.on_commit(on_commit, using=using, robust=True)
        yield
    if outermost and not committed:
        raise TransactionNotCommitted(f"the transaction on {using!r} ended without a COMMIT; {_REMEDY}")


def ensure_committable(using: str) -> None:
    """Raise TransactionNotCommitted if the open transaction on *using* can only be rolled back."""
    connection = connections[using]
    if connection.closed_in_transaction:
        raise TransactionNotCommitted(f"a step closed the connection {using!r} in the transaction; {_REMEDY}")
    if connection.needs_rollback:
        raise TransactionNotCommitted(
            f"the transaction on {using!r} is marked for rollback, by set_rollback(True) or because a step caught a "
            "database error; put atomic() around the query that may fail"
        )
    if connection.errors_occurred:
        _probe(using)


def _probe(using: str) -> None:
    # PostgreSQL answers the COMMIT of an aborted transaction with a rollback and no error
    try:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        raise TransactionNotCommitted(
            f"a step caught a database error, and the transaction on {using!r} cannot go on; put atomic() around the "
            "query that may fail"
        ) from error
