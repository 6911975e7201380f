"""Our own SQL statements."""

import pytest
from django.db import connection

from numflow_django.context import Context
from numflow_django.db import statements
from numflow_django.db.timestamps import Now
from numflow_django.models import FeatureRun, RunState, TaskExecution
from tests.support.running import executions, run_through

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("result", [None, True, False, "", 0, [], {}, 'it\'s 100 % \\ "quoted" 한글', [None, True]])
def test_any_result_is_written_as_it_is(feature, result):
    """The value that a task returns is stored unchanged, also if it is a word or a sign of SQL."""
    run = run_through(feature(mail=f"return {result!r}"))

    assert [(execution.state, execution.result) for execution in executions(run)] == [("succeeded", result)]


def test_what_is_known_of_a_row_that_was_inserted(django_assert_num_queries):
    """Values of the caller, and plain defaults, need no query; values of the database are read at first use."""
    run = FeatureRun.objects.create_run(wait=0, feature="market.buy", queue="default", task_names=["mail"], steps=[])

    with django_assert_num_queries(0):
        assert (run.feature, run.state, run.task_names, run.position, run.claim_id) == (
            "market.buy",
            RunState.QUEUED,
            ["mail"],
            0,
            None,
        )
    assert run.created_at <= run.queued_at
    assert FeatureRun.objects.get() == run


def test_defaults_that_can_be_changed_belong_to_one_row():
    """A list that is a column's default is not shared by the rows that were inserted."""
    rows = [FeatureRun.objects.create_run(wait=0, feature="market.buy", queue="default") for _ in range(2)]

    rows[0].task_names.append("mail")

    assert rows[1].task_names == []


def test_values_reach_their_columns_in_any_order():
    """A statement is cached by its columns and their order, and each value reaches its own column."""
    facts = {"feature": "market.buy", "queue": "mail", "path": "/a/", "method": "PUT", "status_code": 202}

    for order in (list(facts), list(facts)[::-1]):
        run = FeatureRun.objects.create_run(wait=0, **{name: facts[name] for name in order})
        run.reread()
        assert {name: getattr(run, name) for name in facts} == facts


def test_a_row_that_the_guard_stops_is_left_alone():
    """An advance whose row does not match the guard writes neither the row nor the log."""
    run = FeatureRun.objects.create(feature="market.buy", queue="default", state=RunState.RUNNING, position=1)
    log = [TaskExecution(run=run, name="mail", position=0, token=1, state="succeeded")]

    moved = [
        statements.advance(run, {"id": run.pk, "position": position}, {"position": 2, "finished_at": Now()}, log)
        for position in (0, 1, 1)
    ]

    run.reread()
    assert (moved, run.position, len(executions(run))) == ([False, True, False], 2, 1)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Django can have statements prepared by psycopg only")
@pytest.mark.parametrize(("options", "verbs"), [({}, set()), ({"prepare_threshold": 0}, {"INSERT", "WITH"})])
def test_statements_are_prepared_where_the_site_allows_it(feature, monkeypatch, options, verbs):
    """With prepare_threshold in OPTIONS the INSERT of a run and its checkpoints are prepared; by default nothing is."""
    shop = feature(mail="return 'sent'", notify="raise ValueError('no')")
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | options)

    FeatureRun.objects.create_run(wait=0, feature=shop.label, queue="default", task_names=["mail"])
    run = run_through(shop, Context(order="A'1"))

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%numflow%'")
        prepared = {statement.split()[0] for (statement,) in cursor.fetchall()}
    connection.close()
    assert prepared == verbs
    assert (run.state, [execution.state for execution in executions(run)]) == ("failed", ["succeeded", "failed"])


def test_a_row_is_not_inserted_without_its_key():
    """A key's default would be the same for all rows, so it is refused with the names of the model and the field."""
    with pytest.raises(ValueError, match="insert a FeatureRun with its id: defaults are cached for all rows"):
        statements.insert(FeatureRun.objects.all(), {"feature": "market.buy", "queue": "default"})


def test_a_claim_where_an_update_returns_no_rows(monkeypatch):
    """A database whose UPDATE cannot return rows, such as SQLite before 3.35, claims and then reads what it claimed."""
    runs = [FeatureRun.objects.create_run(wait=0, feature="market.buy", queue="default") for _ in range(2)]
    monkeypatch.setitem(vars(connection.features), "can_return_columns_from_insert", False)

    claimed = [FeatureRun.objects.claim(runs[0].pk, 1, worker=worker) for worker in ("w1", "w2")]

    assert claimed == [runs[0], None]
    assert (claimed[0].worker, claimed[0].token, claimed[0].state) == ("w1", 1, RunState.RUNNING)
