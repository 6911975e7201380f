"""
Lets the code in a TestCase see the test's transaction as committed.

A TestCase wraps each test in a transaction and rolls it back in the end. But a worker begins after the COMMIT of the
request. So while its code runs, BEGIN, COMMIT and ROLLBACK are those of a savepoint: the code sees a connection in
autocommit, its ``atomic`` blocks are outermost ones, and their on_commit callbacks are called when they end.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..db import interrupted_queries
from ..db.transactions import inside_callers_transaction, is_aborted, is_aborted_by_errors

#: Django's attributes of a transaction, with their values outside of any transaction.
NO_TRANSACTION: dict[str, Any] = {
    "in_atomic_block": False,
    "autocommit": True,
    "commit_on_exit": True,
    "needs_rollback": False,
    "closed_in_transaction": False,
    "run_commit_hooks_on_set_autocommit_on": False,
}

#: The savepoint that replaces a transaction.
TRANSACTION = "numflow_transaction"
#: The savepoint around a statement outside of any transaction: in autocommit, a failed statement undoes only itself.
STATEMENT = "numflow_statement"

#: One of Django's entries for an on_commit callback: (savepoints that it was registered in, callback, robust).
Callback = tuple[set[str], Any, bool]


@contextmanager
def committed(*, except_for: Sequence[Callback] = ()) -> Iterator[None]:
    """
    Run the block as if the test's transactions had been committed before it.

    First, call the test's on_commit callbacks in order, as COMMIT would, without those in *except_for*. If one raises,
    the rest are not called, as after a COMMIT; they stay for the next time. Do nothing outside of a TestCase's
    transaction. Raise RuntimeError in an ``atomic`` block of the test's own.
    """
    with ExitStack() as stack:
        held = [stack.enter_context(HeldTransaction(connection)) for connection in _in_transaction()]
        stack.enter_context(inside_callers_transaction(each.connection.alias for each in held))
        for test_transaction in held:
            test_transaction.call_back(except_for)
        yield


def pending_callbacks() -> list[Callback]:
    """Return the on_commit callbacks of all connections that wait for a COMMIT."""
    found: list[Any] = [connection.run_on_commit for connection in _in_transaction()]
    return [callback for callbacks in found for callback in callbacks]


def _in_transaction() -> list[BaseDatabaseWrapper]:
    return [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]


class HeldTransaction:
    """Set the test's transaction on a connection aside during a block."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection: Any = connection

    def __enter__(self) -> Self:
        connection = self.connection
        if not getattr(connection.atomic_blocks[-1], "_from_testcase", False):
            raise RuntimeError(
                f"an atomic() block is open on {connection.alias!r}: its changes are not committed, so no worker would "
                "see them; run the pending runs after the block"
            )
        connection.validate_no_broken_transaction()
        self.own_class = type(connection)
        fresh = NO_TRANSACTION | {"atomic_blocks": [], "savepoint_ids": [], "run_on_commit": []}
        self.state = {name: getattr(connection, name) for name in fresh}
        vars(connection).update(fresh)
        connection.__class__ = type(self.own_class.__name__, (InTest, self.own_class), {})
        if is_aborted_by_errors(connection):
            connection.execute_wrappers.append(_alone)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        connection = self.connection
        if not connection.autocommit:
            connection._rollback()
        if _alone in connection.execute_wrappers:
            connection.execute_wrappers.remove(_alone)
        connection.__class__ = self.own_class
        vars(connection).update(self.state)

    def call_back(self, except_for: Sequence[Callback]) -> None:
        """Call the test's own on_commit callbacks, but not those of setUpTestData, which all tests share."""
        pending, test = self.state["run_on_commit"], self.state["savepoint_ids"][-1:]
        for callback in list(pending):
            savepoints, function, robust = callback
            if savepoints.issuperset(test) and not any(callback is other for other in except_for):
                pending.remove(callback)
                transaction.on_commit(function, using=self.connection.alias, robust=robust)


class InTest(BaseDatabaseWrapper):
    """Replaces methods of a connection whose transaction is the test's."""

    def _start_transaction_under_autocommit(self) -> None:
        self._set_autocommit(False)

    def _set_autocommit(self, autocommit: bool) -> None:
        if autocommit != self.autocommit:
            with self.wrap_database_errors:
                (_release if autocommit else _save)(self, TRANSACTION)

    def _commit(self) -> None:
        if self.autocommit:
            return
        if is_aborted(self):
            self._rollback()  # as PostgreSQL does, without an error
        else:
            _release(self, TRANSACTION)
            _save(self, TRANSACTION)

    def _rollback(self) -> None:
        if not self.autocommit:
            _roll_back(self, TRANSACTION)

    def close(self) -> None:
        """Keep the connection, which holds the test's data. Roll back an open transaction, as the server would."""
        interrupted_queries.discard(self)
        self.run_on_commit = []
        if self.in_atomic_block:
            self.needs_rollback = True
        else:
            self._rollback()


def _alone(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    connection = context["connection"]
    if not connection.autocommit:
        return execute(sql, params, many, context)
    _save(connection, STATEMENT)
    try:
        return execute(sql, params, many, context)
    except BaseException:
        _roll_back(connection, STATEMENT)
        raise
    finally:
        _release(connection, STATEMENT)


def _save(connection: BaseDatabaseWrapper, name: str) -> None:
    _execute(connection, connection.ops.savepoint_create_sql(name))


def _release(connection: BaseDatabaseWrapper, name: str) -> None:
    _execute(connection, connection.ops.savepoint_commit_sql(name))


def _roll_back(connection: BaseDatabaseWrapper, name: str) -> None:
    interrupted_queries.discard(connection)
    _execute(connection, connection.ops.savepoint_rollback_sql(name))


def _execute(connection: Any, sql: str) -> None:
    # On the driver's own cursor, so that assertNumQueries counts only the queries of the code under test
    with connection.wrap_database_errors:
        cursor = connection.connection.cursor()
        cursor.execute(sql)
        cursor.close()
