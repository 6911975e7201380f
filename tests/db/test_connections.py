"""The state of the worker's database connections after a task."""

import pytest
from django.db import IntegrityError, OperationalError, connections, transaction

from numflow_django.db.connections import OpenTransactions, close_connections
from numflow_django.db.transactions import end, inside_callers_transaction, is_open
from numflow_django.models import FeatureRun
from tests.e2e.processes import own_database
from tests.support.waiting import eventually

ALIAS = "watched"


@pytest.fixture(autouse=True)
def database(tmp_path, django_db_blocker):
    """A database of its own: the tests' one on SQLite is in memory, where Django does not close a connection."""
    with django_db_blocker.unblock(), own_database(ALIAS, tmp_path):
        yield connections[ALIAS]


def write(feature):
    FeatureRun.objects.using(ALIAS).create(feature=feature, queue="default")


def written():
    return list(FeatureRun.objects.using(ALIAS).order_by("id").values_list("feature", flat=True))


OPEN = {
    "atomic": lambda connection: transaction.atomic(using=ALIAS).__enter__(),
    "two deep": lambda connection: [transaction.atomic(using=ALIAS).__enter__() for _ in range(2)],
    "autocommit off": lambda connection: connection.set_autocommit(False),
    "raw BEGIN": lambda connection: connection.cursor().execute("BEGIN"),
}


def test_nothing_is_left_of_a_good_task(database):
    """After a task that closed its transactions, nothing is rolled back and the connection is the same."""
    watch = OpenTransactions()
    with transaction.atomic(using=ALIAS):
        write("kept")
    before = database.connection

    left = watch.clean_up()

    assert left == []
    assert written() == ["kept"]
    assert database.connection is before


@pytest.mark.parametrize("begin", OPEN.values(), ids=OPEN)
def test_an_open_transaction_is_rolled_back(database, begin):
    """A transaction that a task left open, in any way, is rolled back and named; later writes are committed."""
    watch = OpenTransactions()
    begin(database)
    write("lost")

    left = watch.clean_up()
    write("kept")
    database.close()

    assert left == [ALIAS]
    assert written() == ["kept"]
    assert database.get_autocommit()


def test_autocommit_is_switched_on_again(database):
    """If a task switched autocommit off and wrote nothing, later writes are committed all the same."""
    watch = OpenTransactions()
    database.set_autocommit(False)

    left = watch.clean_up()
    write("kept")
    database.close()

    assert left == [ALIAS]
    assert written() == ["kept"]


@pytest.mark.parametrize("begin", OPEN.values(), ids=OPEN)
def test_a_connection_that_the_task_opened_is_checked_too(database, begin):
    """An open transaction is found on a connection that did not exist when the task began, too."""
    database.close()
    watch = OpenTransactions()
    begin(database)
    write("lost")

    assert watch.clean_up() == [ALIAS]
    assert written() == []


def test_what_was_open_before_the_task_stays_open(database):
    """The engine's own transaction around a task survives the one that the task left open in it."""
    with transaction.atomic(using=ALIAS):
        write("kept")
        watch = OpenTransactions()
        transaction.atomic(using=ALIAS).__enter__()
        write("lost")

        left = watch.clean_up()
        assert database.in_atomic_block

    assert left == [ALIAS]
    assert written() == ["kept"]


def test_a_database_error_in_a_transaction_that_is_left_open(database):
    """An open transaction that an error has aborted is rolled back like any other."""
    write("kept")
    same = FeatureRun.objects.using(ALIAS).get()
    watch = OpenTransactions()
    transaction.atomic(using=ALIAS).__enter__()
    with pytest.raises(IntegrityError):
        FeatureRun.objects.using(ALIAS).bulk_create([same])

    assert watch.clean_up() == [ALIAS]
    assert written() == ["kept"]


def test_a_task_that_uses_no_database_opens_no_connection(database):
    """Checking the connections opens none."""
    database.close()

    left = OpenTransactions().clean_up()

    assert (left, database.connection) == ([], None)


def test_a_renewed_connection_is_a_new_one(database):
    """After a task that was interrupted, its connection is closed and its transaction gone."""
    watch = OpenTransactions()
    transaction.atomic(using=ALIAS).__enter__()
    write("lost")

    watch.close_interrupted()

    assert database.connection is None
    assert written() == []


def test_a_renewal_keeps_what_was_open_before_the_task(database):
    """An interrupted task in the engine's own transaction does not close the connection under it."""
    with transaction.atomic(using=ALIAS):
        write("kept")
        watch = OpenTransactions()
        transaction.atomic(using=ALIAS).__enter__()
        write("lost")

        watch.close_interrupted()

    assert written() == ["kept"]


@pytest.mark.parametrize("noticed", [True, False])
def test_a_dead_connection_is_dropped(database, noticed):
    """A connection that the server has closed is not an open transaction, and the next query opens a new one."""
    if database.vendor != "postgresql":
        pytest.skip("SQLite has no server to hang up")
    watch = OpenTransactions()
    dead = database.connection
    hang_up(dead.info.backend_pid)
    if noticed:
        with pytest.raises(OperationalError, match="terminating connection"):
            written()

    left = watch.clean_up()

    assert left == []
    assert written() == []
    assert database.connection is not dead


def hang_up(pid):
    """End a PostgreSQL session, as a restart of the server or a proxy would."""
    other = connections[ALIAS].copy()

    def is_gone():
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid])
        return not cursor.fetchall()

    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        eventually(is_gone)
    other.close()


def test_the_connections_of_this_thread_are_closed(database):
    """After close_connections() this thread has no open connection; its next query opens one."""
    written()

    close_connections()
    closed = database.connection

    assert closed is None
    assert written() == []


@pytest.mark.parametrize("belongs_to_caller", [True, False])
def test_a_transaction_of_the_caller_stays_open(database, belongs_to_caller):
    """A transaction that Django knows nothing of is rolled back, unless it belongs to the engine's caller."""
    database.cursor().execute("BEGIN")

    with inside_callers_transaction([ALIAS] if belongs_to_caller else []):
        left = OpenTransactions().clean_up()
    kept = is_open(database)
    end(database)

    assert (left, kept) == ([] if belongs_to_caller else [ALIAS], belongs_to_caller)
