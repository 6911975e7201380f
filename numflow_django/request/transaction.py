"""A transaction block that knows whether it was committed; in some cases ``atomic`` alone does not tell."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections, transaction

from ..db import transactions
from ..exceptions import TransactionNotCommitted

_REMEDY = "the steps' work was rolled back; let no step close the connection or end the transaction"


@contextmanager
def commit_block(using: str, after_commit: Callable[[], None]) -> Iterator[None]:
    """
    Run the body in ``atomic(using)`` and call *after_commit* once it is committed, before other callbacks.

    Inside another ``atomic`` block, call it after the outermost one commits. Raise TransactionNotCommitted
    where ``atomic`` ends without an error and without a COMMIT.
    """
    connection = connections[using]
    depth = len(connection.atomic_blocks)
    outermost = not connection.in_atomic_block
    committed = False

    def on_commit() -> None:
        nonlocal committed
        committed = True
        after_commit()

    try:
        with transaction.atomic(using=using):
            # Registered first: if a user's callback raises, Django drops those after it
            transaction.on_commit(on_commit, using=using, robust=True)
            yield
            if len(connection.atomic_blocks) > depth + 1:
                raise TransactionNotCommitted(
                    f"a step left an atomic() block open on {using!r}; use it as `with transaction.atomic():`"
                )
    finally:
        # If a step left a block open, Django ends that block where ours ends. The thread's next requests would run in
        # our transaction and never be committed
        transactions.leave_blocks(connection, depth=depth)
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
    if transactions.would_commit_nothing(connection):
        raise TransactionNotCommitted(
            f"the transaction on {using!r} cannot go on, because a step caught a database error or ended it in SQL; "
            "put atomic() around the query that may fail"
        )
