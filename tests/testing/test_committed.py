"""Tasks in a test's own transaction see and leave the same data as in a worker."""

import pytest
from django.db import connection, transaction

from numflow_django import start_run
from numflow_django.testing import assert_run, run_pending
from tests.market.models import Sale

BOTH = pytest.mark.parametrize(
    "database",
    [
        pytest.param("TestCase", marks=pytest.mark.django_db(databases=["default", "other"])),
        pytest.param(
            "TransactionTestCase", marks=pytest.mark.django_db(transaction=True, databases=["default", "other"])
        ),
    ],
)


@pytest.fixture
def run_of(feature):
    """Return a function that starts a run of tasks with these bodies, runs it and returns it."""

    def run_of(**tasks):
        run = start_run(feature(**tasks).label)
        run_pending()
        run.reread()
        return run

    return run_of


def items(using="default"):
    return sorted(Sale.objects.using(using).values_list("item", flat=True))


def failure(run, name):
    execution = run.log.get(name=name)
    return execution.state, execution.error_type, execution.error_message


NEXT = "Sale.objects.create(item='next')"


@BOTH
def test_a_database_error_fails_the_task_only(run_of, database):
    """A failed query aborts PostgreSQL's transaction. A worker has no open transaction, and tests behave like that."""
    run = run_of(first="Sale.objects.create(item='before')\nSale.objects.create(item=None)", second=NEXT)

    assert failure(run, "first")[:2] == ("failed", "django.db.utils.IntegrityError")
    assert items() == ["before", "next"]


@BOTH
def test_a_database_error_that_the_task_survives(run_of, database):
    """Outside of a transaction, a failed query does not affect other queries."""
    body = """\
        try:
            Sale.objects.create(item=None)
        except Error:
            Sale.objects.create(item="survived")
        with transaction.atomic():
            Sale.objects.create(item="atomic")
    """

    run = run_of(first=body)

    assert_run(run)
    assert items() == ["atomic", "survived"]


@BOTH
def test_raw_sql_that_fails(run_of, database):
    """The same is true for raw SQL."""
    body = """\
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column FROM market_sale")
        except Error:
            lines.append("caught")
        Sale.objects.create(item="survived")
    """

    assert_run(run_of(first=body))

    assert items() == ["survived"]


@BOTH
def test_an_atomic_block_of_the_task_is_the_outermost(run_of, journal, database):
    """A task's atomic block may be durable, rolls back alone, and calls its on_commit callbacks at its end."""
    body = """\
        with transaction.atomic(durable=True):
            Sale.objects.create(item="kept")
            transaction.on_commit(lambda: lines.append("committed"))
            lines.append("in the block")
        lines.append("after the block")
        try:
            with transaction.atomic():
                Sale.objects.create(item="rolled back")
                transaction.on_commit(lambda: lines.append("never"))
                raise ValueError
        except ValueError:
            lines.append(connection.in_atomic_block)
    """

    assert_run(run_of(first=body))

    assert journal() == ["in the block", "committed", "after the block", False]
    assert items() == ["kept"]


@BOTH
def test_an_atomic_task_that_fails(run_of, database):
    """The work of a failed atomic task is rolled back; that of the other tasks stays."""
    rules = (
        "from numflow_django import async_task\nfrom tests.market.models import Sale\n\n\n@async_task(atomic=True)\n"
    )

    run = run_of(
        first=f"{rules}def {{name}}(ctx):\n    Sale.objects.create(item='gone')\n    raise ValueError('no')\n",
        second=f"{rules}def {{name}}(ctx):\n    Sale.objects.create(item='kept')\n",
    )

    assert failure(run, "first") == ("failed", "ValueError", "no")
    assert items() == ["kept"]


@BOTH
@pytest.mark.parametrize(
    "opening",
    [
        "transaction.atomic().__enter__()",
        "transaction.set_autocommit(False)",
        "transaction.atomic().__enter__(); transaction.atomic(using='other').__enter__()",
    ],
)
def test_a_transaction_left_open(run_of, opening, database):
    """A transaction that a task leaves open is rolled back, the task fails, and the next task is not affected."""
    run = run_of(first=f"{opening}\nSale.objects.create(item='lost')", second=NEXT)

    assert failure(run, "first")[1] == "numflow_django.exceptions.TransactionLeftOpen"
    assert items() == ["next"]


@BOTH
def test_a_transaction_by_hand(run_of, database):
    """With autocommit off, a task can commit and roll back by itself."""
    body = """\
        transaction.set_autocommit(False)
        Sale.objects.create(item="committed")
        transaction.commit()
        Sale.objects.create(item="rolled back")
        transaction.rollback()
        Sale.objects.create(item="committed, too")
        transaction.commit()
        transaction.set_autocommit(True)
    """

    assert_run(run_of(first=body))

    assert items() == ["committed", "committed, too"]


@BOTH
def test_a_connection_closed_by_the_task(run_of, database):
    """After a task closed its connection, it can go on, and the test's transaction stays."""
    run = run_of(first="Sale.objects.create(item='before')\nconnections.close_all()\nSale.objects.create(item='after')")

    assert_run(run)
    assert items() == ["after", "before"]


@BOTH
def test_a_connection_closed_in_a_block(run_of, database):
    """If a task closes the connection in a block, the block is rolled back and its next query fails."""
    body = """\
        with transaction.atomic():
            Sale.objects.create(item="lost")
            connection.close()
            Sale.objects.create(item="too late")
    """

    run = run_of(first=body, second=NEXT)

    assert failure(run, "first")[0] == "failed"
    assert items() == ["next"]


@BOTH
def test_a_block_marked_for_rollback(run_of, database):
    """set_rollback(True) rolls back only the task's block."""
    body = "with transaction.atomic():\n    Sale.objects.create(item='lost')\n    transaction.set_rollback(True)"

    assert_run(run_of(first=body, second=NEXT))

    assert items() == ["next"]


@BOTH
def test_a_lock_needs_a_block(run_of, database):
    """select_for_update() outside of a block fails, as in a worker, although the test's own transaction is open."""
    run = run_of(first="list(Sale.objects.select_for_update())")

    expected = "failed" if connection.features.has_select_for_update else "succeeded"
    assert run.log.get().state == expected


@BOTH
def test_a_coroutine(run_of, database):
    """An async task uses the same connection."""
    source = """\
from numflow_django import async_task
from tests.market.models import Sale


async def {name}(ctx):
    await Sale.objects.acreate(item="awaited")
"""

    assert_run(run_of(first=source))

    assert items() == ["awaited"]


#: By the database's vendor: how to get a call of begun() when the query runs, and a long query.
LONG_QUERIES = {
    "postgresql": (
        "connection.connection.add_notice_handler(begun)",
        "DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END $$",
    ),
    "mysql": ("begun()", "SELECT SLEEP(1)"),
    "sqlite": (
        "connection.connection.create_function('begun', 0, begun)",
        "WITH RECURSIVE n(i) AS (SELECT begun() UNION ALL SELECT 1 FROM n LIMIT 99999) SELECT count(*) FROM n",
    ),
}


@BOTH
def test_a_task_interrupted_in_a_query(run_of, database):
    """
    After a timeout in a query, the test can still use the connection.
    """
    announce, query = LONG_QUERIES[connection.vendor]
    body = f"""\
import signal
from django.db import connection
from numflow_django import async_task
from tests.market.models import Sale


def begun(*notice):
    if notice:
        connection.connection.remove_notice_handler(begun)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 1)


@async_task(timeout=60)
def {{name}}(ctx):
    Sale.objects.create(item="before")
    with connection.cursor() as cursor:
        {announce}
        while True:
            cursor.execute({query!r})
"""

    run = run_of(first=body, second=NEXT)

    assert failure(run, "first")[1] == "numflow_django.exceptions.TaskTimeout"
    assert items() == ["before", "next"]


@pytest.mark.django_db
def test_a_callback_that_leaves_a_transaction_open():
    """A transaction that an on_commit callback leaves open is rolled back before the test goes on."""
    transaction.on_commit(lambda: (transaction.set_autocommit(False), Sale.objects.create(item="lost")))

    run_pending()

    assert items() == []


@pytest.mark.django_db
def test_the_tests_transaction_is_as_before(run_of):
    """Afterwards the test's own blocks, callbacks and flags are as before."""
    blocks, savepoints = list(connection.atomic_blocks), list(connection.savepoint_ids)

    run_of(first="transaction.atomic().__enter__()", second="connection.close()")

    assert (connection.atomic_blocks, connection.savepoint_ids) == (blocks, savepoints)
    assert connection.in_atomic_block
    assert not connection.needs_rollback
    assert not connection.execute_wrappers
    with transaction.atomic():
        Sale.objects.create(item="goes on")
    assert items() == ["goes on"]
