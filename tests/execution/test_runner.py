"""How a run goes through its tasks, in this process and without RQ."""

import logging
from importlib import import_module
from threading import Thread
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, connections
from django.test import RequestFactory

from numflow_django import signals
from numflow_django.conf import conf
from numflow_django.context import Context
from numflow_django.db.lengths import MESSAGE_LENGTH, TRACEBACK_LENGTH
from numflow_django.db.timestamps import Now
from numflow_django.execution import run_database, runner, timeout
from numflow_django.execution import task as task_calls
from numflow_django.models import ExecutionState, FeatureRun, RunState, TaskExecution
from tests.market.models import Sale
from tests.support.alarms import LONG, expire
from tests.support.running import executions, messages, on_postgresql, queued, run_through, states, task
from tests.support.waiting import eventually

BOTH = ["default", "other"]

pytestmark = pytest.mark.django_db(transaction=True, databases=BOTH)

# Order


def test_tasks_run_strictly_one_after_another(feature, journal):
    """A17: task n+1 begins after task n has ended, whether that is a function or a coroutine."""
    note = "lines.append('{name} begins')\n%s\nlines.append('{name} ends')"
    shop = feature(
        mail=task(note % "await asyncio.sleep(0.01)", define="async def"),
        notify=task(note % "time.sleep(0.01)"),
        publish=task(note % "await asyncio.sleep(0)", define="async def"),
    )

    run = run_through(shop)

    names = ["mail", "notify", "publish"]
    assert journal() == [f"{name} {what}" for name in names for what in ("begins", "ends")]
    assert run.state == RunState.SUCCEEDED
    assert [(e.name, e.position, e.state, e.attempt, e.token, e.worker) for e in executions(run)] == [
        (name, position, ExecutionState.SUCCEEDED, 1, 1, "w1") for position, name in enumerate(names)
    ]


def test_a_run_that_succeeds(feature):
    """A run whose tasks all succeed has ended, with no reason, no lease and all its times."""
    run = run_through(feature(mail="pass"))

    assert (run.state, run.reason, run.position, run.lease_expires_at) == (RunState.SUCCEEDED, "", 1, None)
    assert run.created_at <= run.started_at <= run.finished_at
    assert executions(run)[0].started_at <= executions(run)[0].finished_at


def test_a_run_that_is_enqueued_twice_runs_once(feature, journal, caplog):
    """A run that is enqueued twice runs its tasks once; the second claim returns None without a warning."""
    row = queued(feature(mail="lines.append('mail')"))

    first = runner.run(row.pk, 1, worker="w1")
    second = runner.run(row.pk, 1, worker="w2")

    assert (first.state, second) == (RunState.SUCCEEDED, None)
    assert journal() == ["mail"]
    assert messages(caplog, logging.WARNING) == []


def test_a_job_of_another_site(caplog):
    """A job whose run is in no database causes a warning: another site uses the same Redis and queue."""
    run_id = uuid4()

    assert runner.run(run_id, 1, worker="w1") is None

    [warning] = messages(caplog, logging.WARNING)
    assert warning.startswith(f"run not found run={run_id}: ")
    assert "give each site a Redis database or queue names of its own" in warning


@pytest.mark.parametrize("define", ["def", "async def"])
@pytest.mark.parametrize("rules", ["", "atomic=True"])
def test_a_task_touches_the_instances_that_steps_stored(feature, define, rules):
    """A19: a coroutine too finds the model instances on ctx, where Django lets it make no query."""
    mug, cup = Sale.objects.create(item="mug"), Sale.objects.using("other").create(item="cup")
    read = "return [ctx.sale.item, ctx['bag'][0].item, ctx.get('bag')[0]._state.db]"

    run = run_through(feature(mail=task(read, rules, define)), Context(sale=mug, bag=[cup]))

    assert executions(run)[0].result == ["mug", "cup", "other"]


@pytest.mark.parametrize("define", ["def", "async def"])
def test_a_gone_instance_fails_the_task_that_touches_it(feature, define):
    """A19: a missing row is the error of the task that touches it, and affects no other task."""
    sale = Sale.objects.create(item="mug")
    context = Context(sale=sale, note="a")
    shop = feature(
        mail=task("return ctx.note", define=define),
        clean=task("Sale.objects.all().delete()"),
        notify=task("return ctx.sale.item", define=define),
        publish=task("return ctx.note", define=define),
    )

    run = run_through(shop, context)

    assert [execution.result for execution in executions(run)] == ["a", None, None, "a"]
    assert states(run)[2] == ("notify", "failed")
    assert executions(run)[2].error_message == (
        f"ctx.sale: market.Sale with primary key {sale.pk} no longer exists in the database 'default'"
    )


# Failure


@pytest.mark.parametrize("debug", [True, False])
def test_a_failed_task_is_logged_and_the_next_one_runs(feature, caplog, settings, debug):
    """A18: a task that raises is logged with its traceback whatever DEBUG is, and the next one still runs."""
    settings.DEBUG = debug
    shop = feature(mail="raise ConnectionError('the gateway is down')", notify="return 'sent'")

    run = run_through(shop)

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert (run.state, run.reason) == (RunState.FAILED, "1 of 2 tasks failed: mail")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == (
        f"task failed run={run.pk} feature={shop.label} task=mail attempt=1 error=ConnectionError"
    )
    assert "raise ConnectionError('the gateway is down')" in caplog.text


def test_all_failures_count(feature):
    """A run with several failed tasks names them in their order."""
    run = run_through(feature(mail="1 / 0", notify="pass", publish="[][0]"))

    assert (run.state, run.reason) == (RunState.FAILED, "2 of 3 tasks failed: mail, publish")
    assert [e.error_type for e in executions(run)] == ["ZeroDivisionError", "", "IndexError"]


@pytest.mark.parametrize("error", ["sys.exit(3)", "raise SystemExit(3)", "raise asyncio.CancelledError('3')"])
def test_a_task_that_wants_to_end_the_worker(feature, error):
    """A18: SystemExit and CancelledError fail the task that raises them, and no other."""
    run = run_through(feature(mail=error, notify="pass"))

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert executions(run)[0].error_message == "3"


def test_an_interrupted_worker_settles_nothing(feature):
    """Ctrl+C ends the worker: the run stays claimed, and the interrupted task is not recorded."""
    row = queued(feature(mail="pass", notify="raise KeyboardInterrupt"))

    with pytest.raises(KeyboardInterrupt):
        runner.run(row.pk, 1, worker="w1")

    row.refresh_from_db()
    assert (row.state, row.position) == (RunState.RUNNING, 1)
    assert states(row) == [("mail", "succeeded")]


def test_an_error_that_cannot_be_shown(feature):
    """A18: an exception whose str() fails is recorded all the same, and the next task runs."""
    broken = """
        class Odd(Exception):
            def __str__(self):
                return self.text
        raise Odd
    """

    run = run_through(feature(mail=broken, notify="pass"))

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert executions(run)[0].error_message == "<its str() failed>"
    assert "Odd: <exception str() failed>" in executions(run)[0].traceback


def test_a_failed_task_whose_context_cannot_travel(feature):
    """A18: a lazy value on ctx that raises while a failure is recorded changes nothing about the failure."""
    run = run_through(feature(mail="ctx.user = SimpleLazyObject(lambda: 1 / 0)\nraise ValueError('no')", notify="pass"))

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert executions(run)[0].error_type == "ValueError"


def test_a_coroutine_that_is_never_awaited(feature, journal):
    """A function that only returns a coroutine fails, because the coroutine would never run."""
    run = run_through(feature(mail="async def send(): lines.append('sent')\nreturn send()"))

    assert states(run) == [("mail", "failed")]
    assert executions(run)[0].error_message.endswith("returned a coroutine, which is never awaited; use 'async def'")
    assert journal() == []


def test_the_rest_is_skipped_after_stop_on_failure(feature, journal, caplog):
    """With stop_on_failure, the tasks after a failed one are not run, and each leaves a row that says why."""
    shop = feature(
        mail="lines.append('mail')",
        charge=task("raise ValueError('no money')", "stop_on_failure=True"),
        ship="lines.append('ship')",
        publish="lines.append('publish')",
    )

    run = run_through(shop)

    assert journal() == ["mail"]
    assert [(e.name, e.position, e.state, e.error_message, e.started_at is None) for e in executions(run)][2:] == [
        ("ship", 2, "skipped", "charge failed", True),
        ("publish", 3, "skipped", "charge failed", True),
    ]
    assert (run.state, run.position, run.reason) == (RunState.FAILED, 4, "1 of 4 tasks failed: charge")
    assert f"task skipped run={run.pk} feature={shop.label} task=ship" in messages(caplog, logging.WARNING)


def test_stop_on_failure_stops_only_on_failure(feature):
    """A task with stop_on_failure that succeeds lets the next one run."""
    run = run_through(feature(charge=task("pass", "stop_on_failure=True"), ship="pass"))

    assert states(run) == [("charge", "succeeded"), ("ship", "succeeded")]


# The context


def test_tasks_share_the_context(feature):
    """A19: tasks read what the steps stored, and what earlier tasks stored, also one that failed after it."""
    shop = feature(
        mail="ctx.mailed = ctx.item.upper()",
        notify="ctx.notified = True\nraise ConnectionError",
        publish="return [ctx.item, ctx.mailed, ctx.notified]",
    )

    run = run_through(shop, Context(item="book"))

    assert executions(run)[2].result == ["book", "BOOK", True]
    assert run.context == '{"item":"book","mailed":"BOOK","notified":true}'


def test_a_context_that_cannot_travel_fails_its_task(feature):
    """A task that stores an unserializable value fails with the key's name; later tasks see the old context."""
    run = run_through(feature(mail="ctx.item = object()", notify="return ctx.item"), Context(item="book"))

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    failed, succeeded = executions(run)
    assert failed.error_type == "numflow_django.exceptions.ContextValueError"
    assert "object, which cannot be stored for the async tasks" in failed.error_message
    assert "was set by async task 100 mail" in failed.error_message
    assert succeeded.result == "book"


def test_an_instance_that_is_gone_fails_only_the_task_that_touches_it(feature):
    """A model instance that was deleted meanwhile fails the task that reads it, and no other."""
    sale = Sale.objects.create(item="book")
    shop = feature(mail="return 'no sale needed'", notify="ctx.sale.item", publish="return ctx.item")

    context = Context(sale=sale, item="book")
    row = queued(shop, context)
    sale.delete()
    runner.run(row.pk, 1, worker="w1")

    assert states(row) == [("mail", "succeeded"), ("notify", "failed"), ("publish", "succeeded")]
    failed = executions(row)[1]
    assert failed.error_type == "numflow_django.exceptions.ContextInstanceGone"
    assert "ctx.sale: market.Sale with primary key" in failed.error_message
    assert "no longer exists in the database 'default'" in failed.error_message


def test_what_a_task_knows_about_itself(feature):
    """ctx.task has name, attempt and a key that is the same at every attempt of this task in this run."""
    facts = "return [str(ctx.run_id), str(ctx.task.run_id), ctx.task.name, ctx.task.attempt, ctx.task.idempotency_key]"

    run = run_through(feature(mail=facts, notify=facts))

    assert [e.result for e in executions(run)] == [
        [str(run.pk), str(run.pk), name, 1, f"{run.pk}:{name}"] for name in ("mail", "notify")
    ]


# What is kept of a task


def test_a_task_that_returns_early(feature):
    """A21: a task that returns early because it has nothing to do has succeeded."""
    coupon = "if ctx.amount < 50_000:\n    return\nctx.coupon = 'WELCOME'"

    run = run_through(feature(coupon=coupon), Context(amount=49_999))

    assert (run.state, states(run)) == (RunState.SUCCEEDED, [("coupon", "succeeded")])
    assert executions(run)[0].result is None
    assert "coupon" not in run.context


def test_results_are_kept(feature):
    """What a task returns is kept as JSON; dates, decimals and ids become text."""
    shop = feature(mail="from decimal import Decimal\nreturn {'수신': ['a@b.c'], 'price': Decimal('9.90'), 1: None}")

    run = run_through(shop)

    assert executions(run)[0].result == {"수신": ["a@b.c"], "price": "9.90", "1": None}


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("object()", "Object of type object is not JSON serializable"),
        ("float('nan')", "Out of range float values are not JSON compliant"),
        ("'x' * 1001", "it is larger than NUMFLOW['CONTEXT_MAX_BYTES']"),
    ],
    ids=["object", "NaN", "too large"],
)
def test_a_result_that_cannot_be_kept(feature, caplog, settings, result, why):
    """A task that returns what is no JSON has succeeded without a result, and a warning says why."""
    settings.NUMFLOW = {"CONTEXT_MAX_BYTES": 1000}
    shop = feature(mail=f"return {result}")

    run = run_through(shop)

    assert (run.state, executions(run)[0].result) == (RunState.SUCCEEDED, None)
    [warning] = messages(caplog, logging.WARNING)
    assert warning.startswith(f"result not stored run={run.pk} feature={shop.label} task=mail: ")
    assert why in warning


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (r"a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        (r"\ud83d!", "\N{REPLACEMENT CHARACTER}!"),
        (r"C:\\u0000dir", r"C:\u0000dir"),
        (r"\\\0", "\\\N{REPLACEMENT CHARACTER}"),
        (r"\\\\u0000", r"\\u0000"),
    ],
    ids=["NUL", "surrogate", "backslash and u0000", "backslash and NUL", "two backslashes and u0000"],
)
def test_what_a_database_cannot_hold_of_a_result_is_replaced(feature, caplog, text, kept):
    """A NUL or a lone surrogate in a result, in a key too, is replaced as in an error; all the rest is kept."""
    run = run_through(feature(mail=f"return {{'text': ['{text}'], 'n': 3, '{text}': 'ok'}}"))

    assert executions(run)[0].result == {"text": [kept], "n": 3, kept: "ok"}
    assert messages(caplog, logging.WARNING) == []


@pytest.mark.parametrize("define", ["def", "async def"])
def test_a_traceback_begins_with_the_task(feature, define):
    """The traceback that is kept shows the task's lines and those of its causes, and none of this package's."""
    source = """
        try:
            ctx.missing
        except AttributeError as error:
            raise ValueError('no item') from error
    """

    run = run_through(feature(mail=task(source, define=define)))

    [failed] = executions(run)
    assert (failed.error_type, failed.error_message) == ("ValueError", "no item")
    assert "100_mail.py" in failed.traceback
    assert "ctx.missing\n" in failed.traceback
    assert "raise ValueError('no item') from error" in failed.traceback
    assert failed.traceback.endswith("ValueError: no item\n")
    assert "numflow_django/" not in failed.traceback


def test_secrets_are_masked_in_errors(feature):
    """Neither the message nor the traceback that are kept show what stands after a secret word."""
    run = run_through(feature(mail="raise ConnectionError('login failed: password=hunter2')"))

    [failed] = executions(run)
    assert failed.error_message == "login failed: password=********"
    assert "hunter2" not in failed.traceback
    assert "password=********" in failed.traceback


def test_long_errors_are_capped(feature):
    """Of an endless message or traceback the beginning and the end are kept; what no database can hold is replaced."""
    run = run_through(feature(mail="raise ValueError('begin \\0\\ud800' + 'x' * 100_000 + ' end')"))

    [failed] = executions(run)
    assert len(failed.error_message) == MESSAGE_LENGTH
    assert len(failed.traceback) == TRACEBACK_LENGTH
    assert failed.error_message.startswith("begin \N{REPLACEMENT CHARACTER}?xxx")
    assert failed.error_message.endswith("xxx end")


# Time limits


STUBBORN = """
    try:
        expire(); time.sleep(LONG)
    except Exception:
        lines.append('swallowed')
"""


def test_a_task_that_takes_too_long(feature, journal):
    """C9: a task over its timeout fails with TaskTimeout, even if it swallows Exception, and the next one runs."""
    run = run_through(feature(mail=task(STUBBORN, "timeout=LONG"), notify="pass"))

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    failed = executions(run)[0]
    assert failed.error_type == "numflow_django.exceptions.TaskTimeout"
    assert "100_mail.py) exceeded its timeout of 3600 s; raise it with @async_task(timeout=...)" in failed.error_message
    assert "expire(); time.sleep(LONG)" in failed.traceback
    assert journal() == []


def test_the_time_limit_of_the_settings(feature, settings):
    """A task without a timeout of its own has that of NUMFLOW."""
    settings.NUMFLOW = {"TASK_TIMEOUT": LONG}

    run = run_through(feature(mail=STUBBORN))

    assert "exceeded its timeout of 3600 s" in executions(run)[0].error_message


def test_a_coroutine_that_takes_too_long_has_ended_before_the_next_task(feature, journal, monkeypatch):
    """A17: an async task over its timeout is cancelled, and the next task waits for its end."""
    monkeypatch.setattr(task_calls, "CANCEL_SECONDS", LONG)
    monkeypatch.setattr(timeout, "REPEAT", LONG)  # else it could interrupt the wait, too
    endless = """
        try:
            expire()
            await asyncio.sleep(LONG)
        finally:
            lines.append('mail has ended')
    """

    shop = feature(mail=task(endless, "timeout=LONG", define="async def"), notify="lines.append('notify begins')")
    run = run_through(shop)

    assert journal() == ["mail has ended", "notify begins"]
    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert "exceeded its timeout of 3600 s" in executions(run)[0].error_message


def test_a_task_that_takes_too_long_in_a_transaction(feature):
    """A task that is interrupted in an open transaction fails, and the work of the next one is committed."""
    body = "transaction.atomic().__enter__()\nSale.objects.create(item='left')\nexpire(); time.sleep(LONG)"
    shop = feature(mail=task(body, "timeout=LONG"), notify="Sale.objects.create(item='next')")

    run = run_through(shop)
    connection.close()

    assert [e.error_type for e in executions(run)] == ["numflow_django.exceptions.TaskTimeout", ""]
    assert [sale.item for sale in Sale.objects.all()] == ["next"]


def naps():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        return cursor.fetchall()


def expire_in_a_nap():
    """Let the limit of the task end once the server is at work on its query."""

    def watch():
        eventually(naps, message="The query has not begun")
        expire()
        connection.close()  # this thread's

    Thread(target=watch).start()


@pytest.mark.parametrize("atomic", [True, False])
@on_postgresql
def test_a_query_that_takes_too_long(feature, atomic):
    """A query that a task is interrupted in is cancelled, and the next task has a connection that works."""
    query = "Sale.objects.extra(select={'nap': 'pg_sleep(3600)'}).get()"
    body = f"from tests.execution.test_runner import expire_in_a_nap\nexpire_in_a_nap()\n{query}"
    slow = task(body, f"timeout=LONG, atomic={atomic}")
    Sale.objects.create(item="book")

    run = run_through(feature(mail=slow, notify="return Sale.objects.count()"))

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    assert executions(run)[0].error_type == "numflow_django.exceptions.TaskTimeout"
    assert executions(run)[1].result == 1
    eventually(lambda: not naps(), message="The server has not ended the query")


# Transactions


def test_tasks_are_not_in_the_requests_transaction(tree, feature, monkeypatch):
    """A22: a task runs after the commit and in autocommit; its failure undoes nothing and never reaches on_error."""
    shop = feature(mail="lines.append(connection.in_atomic_block)\nraise ConnectionError('away')")
    tree.write(
        {
            "shop/steps/050_sell.py": """
                from tests.market.models import Sale

                def sell(ctx):
                    ctx.sale = Sale.objects.create(item="book")
            """
        }
    )
    reached = []
    view = tree.view("shop")
    monkeypatch.setattr(view, "on_error", lambda self, error, ctx, request: reached.append(error))

    answer = view.as_view()(RequestFactory().post("/"))
    runner.run(answer.headers["Numflow-Run"], 1, worker="w1")

    assert answer.status_code == 200
    assert reached == []
    assert FeatureRun.objects.get().state == RunState.FAILED
    assert import_module(f"{tree.package}.journal").lines == [False]
    assert shop.task_names == ["mail"]


def test_an_atomic_task_and_its_checkpoint_commit_together(feature, journal):
    """D8: when the work of a task with atomic=True is committed, its execution and the moved row are, too."""
    body = """
        Sale.objects.create(item="charged")
        row = FeatureRun.objects.filter(pk=ctx.run_id)
        lines.append(row.values_list("position", "executions__name").get())
        transaction.on_commit(lambda: lines.append(row.values_list("position", "executions__name").get()))
        return connection.in_atomic_block
    """

    run = run_through(feature(charge=task(body, "atomic=True")))

    assert journal() == [(0, None), (1, "charge")]
    assert executions(run)[0].result is True
    assert Sale.objects.get().item == "charged"


@pytest.mark.parametrize("define", ["def", "async def"])
def test_a_failed_atomic_task_leaves_nothing(feature, define):
    """D8: what a task with atomic=True wrote and stored before it failed is gone; the next task runs."""
    create = "await Sale.objects.acreate" if define == "async def" else "Sale.objects.create"
    body = f"{create}(item='charged')\nctx.charged = True\nraise ValueError('no money')"

    run = run_through(feature(charge=task(body, "atomic=True", define), ship="return 'charged' in ctx"))

    assert states(run) == [("charge", "failed"), ("ship", "succeeded")]
    assert executions(run)[1].result is False
    assert not Sale.objects.exists()


def test_a_failed_task_that_is_not_atomic_keeps_what_it_wrote(feature):
    """Without atomic=True, what a task wrote before it failed stays."""
    run_through(feature(charge="Sale.objects.create(item='charged')\nraise ValueError('no money')"))

    assert Sale.objects.get().item == "charged"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("transaction.set_rollback(True)", "You can't execute queries until the end of the 'atomic' block"),
        pytest.param("connection.close()", "the connection is closed", marks=on_postgresql),
    ],
    ids=["set_rollback", "close"],
)
def test_an_atomic_task_that_cannot_be_committed(feature, body, error):
    """D8: an atomic task that makes its transaction impossible to commit fails, and does not count as done."""
    run = run_through(feature(charge=task(f"Sale.objects.create(item='charged')\n{body}", "atomic=True"), ship="pass"))

    assert states(run) == [("charge", "failed"), ("ship", "succeeded")]
    assert error in executions(run)[0].error_message
    assert not Sale.objects.exists()


def test_a_callback_that_raises_after_an_atomic_task(feature, caplog):
    """D8: an on_commit callback that raises is logged; the task is committed, and so it has succeeded, once."""
    body = "Sale.objects.create(item='charged')\ntransaction.on_commit(lambda: 1 / 0)"
    shop = feature(charge=task(body, "atomic=True"), ship="pass")

    run = run_through(shop)

    assert (run.state, states(run)) == (RunState.SUCCEEDED, [("charge", "succeeded"), ("ship", "succeeded")])
    assert Sale.objects.get().item == "charged"
    assert messages(caplog, logging.ERROR) == [
        f"on_commit callback failed run={run.pk} feature={shop.label} task=charge; what the task wrote stands"
    ]
    assert "ZeroDivisionError" in caplog.text


def take_over(name):
    """A receiver of task_started that lets another worker take the run over when the task *name* begins."""

    def receiver(run, task, **kwargs):
        if task.name == name:
            rows = FeatureRun.objects.filter(pk=run.pk)
            rows.update(claim_id=uuid4(), worker="w2", token=2)

    return receiver


@pytest.mark.parametrize(("atomic", "sales"), [(True, 0), (False, 1)], ids=["atomic", "not atomic"])
def test_a_claim_that_is_lost_meanwhile(feature, listen, caplog, journal, atomic, sales):
    """D8: a worker whose run was taken over writes nothing and stops; an atomic task's work is undone."""
    charge = task("Sale.objects.create(item='charged')", f"atomic={atomic}")
    shop = feature(mail="pass", charge=charge, ship="lines.append('ship')")
    ends = []
    listen(signals.task_started, steal := take_over("charge"))
    listen(signals.run_succeeded, note := lambda **kwargs: ends.append(kwargs))
    listen(signals.run_failed, note)

    run = run_through(shop)

    assert Sale.objects.count() == sales
    assert states(run) == [("mail", "succeeded")]
    assert (run.state, run.worker, run.position) == (RunState.RUNNING, "w2", 1)
    assert (journal(), ends) == ([], [])
    [warning] = messages(caplog, logging.WARNING)
    assert warning.startswith(f"claim lost run={run.pk} feature={shop.label}: ")
    assert "another process has taken it over" in warning
    assert steal


def test_a_claim_that_is_lost_while_a_task_fails(feature, listen, caplog):
    """A failure is not recorded either by a worker whose run was taken over."""
    listen(signals.task_started, steal := take_over("mail"))

    run = run_through(feature(mail="raise ValueError('no')"))

    assert (run.state, run.worker, states(run)) == (RunState.RUNNING, "w2", [])
    assert "claim lost" in caplog.text
    assert steal


def oversleep(**changes):
    """Return a receiver after whose signal the lease is over, and the row of the run has these *changes*."""

    def receiver(run, **kwargs):
        run.held_at -= conf.LEASE_SECONDS
        FeatureRun.objects.filter(pk=run.pk).update(lease_expires_at=Now(-1), **changes)

    return receiver


def test_a_lease_that_is_over_is_renewed_before_the_next_task(feature, listen, journal):
    """D8: a worker that was suspended until its lease was over renews it before it begins another task."""
    listen(signals.task_succeeded, oversleep())
    held = "lines.append(FeatureRun.objects.filter(lease_expires_at__gt=Now()).count())"

    run = run_through(feature(mail="pass", notify=held))

    assert (run.state, journal()) == (RunState.SUCCEEDED, [1])


def test_a_run_that_was_taken_over_when_its_lease_was_over(feature, listen, journal, caplog):
    """D8: a worker whose run was taken over while it was suspended begins no other task."""
    listen(signals.task_succeeded, oversleep(claim_id=uuid4(), worker="w2"))

    run = run_through(feature(mail="pass", notify="lines.append('notify')"))

    assert (run.state, run.worker, states(run), journal()) == (RunState.RUNNING, "w2", [("mail", "succeeded")], [])
    [warning] = messages(caplog, logging.WARNING)
    assert warning.endswith("its lease expired, and another process has taken it over")


LEFT_OPEN = {
    "atomic": "transaction.atomic().__enter__()",
    "two deep": "transaction.atomic().__enter__()\ntransaction.atomic().__enter__()",
    "autocommit off": "transaction.set_autocommit(False)",
    "raw BEGIN": "connection.cursor().execute('BEGIN')",
}


@pytest.mark.parametrize("begin", LEFT_OPEN.values(), ids=LEFT_OPEN)
def test_a_transaction_that_is_left_open(feature, begin):
    """A task that leaves a transaction open fails, its work is undone, and the next task's work is committed."""
    leave = f"{begin}\nSale.objects.create(item='left')"
    shop = feature(mail=leave, notify="Sale.objects.create(item='next')")

    run = run_through(shop)
    connection.close()

    assert states(run) == [("mail", "failed"), ("notify", "succeeded")]
    failed = executions(run)[0]
    assert failed.error_type == "numflow_django.exceptions.TransactionLeftOpen"
    assert failed.error_message.endswith(
        "100_mail.py) ended with an open transaction on default, which was rolled back; "
        "use 'with transaction.atomic():'"
    )
    assert [sale.item for sale in Sale.objects.all()] == ["next"]
    assert connection.get_autocommit()


@pytest.mark.parametrize("begin", LEFT_OPEN.values(), ids=LEFT_OPEN)
def test_a_failed_task_that_left_a_transaction_open(feature, begin):
    """A task that raises in an open transaction fails with its own error, and the next task's work is committed."""
    shop = feature(
        mail=f"{begin}\nSale.objects.create(item='left')\nraise ValueError('no')",
        notify="Sale.objects.create(item='next')",
    )

    run = run_through(shop)
    connection.close()

    assert [e.error_type for e in executions(run)] == ["ValueError", ""]
    assert [sale.item for sale in Sale.objects.all()] == ["next"]


def test_a_transaction_that_is_left_open_on_another_database(feature):
    """The error names the database whose transaction was left open."""
    run = run_through(feature(mail="transaction.atomic(using='other').__enter__()"))

    assert "ended with an open transaction on other, which was rolled back" in executions(run)[0].error_message
    assert not connections["other"].in_atomic_block


def test_an_error_of_the_checkpoint_is_none_of_the_tasks(feature, monkeypatch):
    """If a success cannot be recorded, the worker raises: the run stays claimed, and no failure is on record."""
    row = queued(feature(mail="pass"))

    def fail(*args, **kwargs):
        raise OperationalError("the database is down")

    monkeypatch.setattr(FeatureRun, "checkpoint", fail)
    monkeypatch.setattr(run_database, "WRITE_WAITS", ())
    with pytest.raises(OperationalError, match="the database is down"):
        runner.run(row.pk, 1, worker="w1")

    row.refresh_from_db()
    assert (row.state, row.position, states(row)) == (RunState.RUNNING, 0, [])


# Another database, other code


def test_a_run_on_another_database(feature):
    """A run is found, and recorded, in the database of its feature."""
    run = run_through(feature(using="other", mail=task("Sale.objects.using('other').create()", "atomic=True")))

    assert (run.state, states(run)) == (RunState.SUCCEEDED, [("mail", "succeeded")])
    assert run._state.db == "other"
    assert not FeatureRun.objects.using("default").exists()
    assert not TaskExecution.objects.using("default").exists()
    assert Sale.objects.using("other").count() == 1


def test_an_atomic_task_on_another_database(feature):
    """D8: the transaction of an atomic task is on the database of its run, and no other is touched."""
    body = """
        Sale.objects.using("other").create(item="charged")
        lines.append([connections[alias].in_atomic_block for alias in ("default", "other")])
        raise ValueError("no money")
    """

    run = run_through(feature(using="other", charge=task(body, "atomic=True"), ship="return lines[0]"))

    assert states(run) == [("charge", "failed"), ("ship", "succeeded")]
    assert executions(run)[1].result == [False, True]
    assert not Sale.objects.using("other").exists()


def test_a_run_that_is_nowhere(feature):
    """A job for a run that no database holds is ignored."""
    feature(mail="pass")

    assert runner.run(uuid4(), 1, worker="w1") is None


def test_the_tasks_of_a_run_are_those_of_its_request(feature, journal):
    """A task that was deployed after the request is not part of its run."""
    shop = feature(mail="lines.append('mail')", notify="lines.append('notify')")

    run = run_through(shop, task_names=["notify"])

    assert (journal(), run.state) == (["notify"], RunState.SUCCEEDED)


# Resuming


def resume(row):
    """Recover a run whose worker has died and whose lease has expired: pending, and enqueued again."""
    FeatureRun.objects.filter(pk=row.pk).update(state=RunState.QUEUED, dispatch_no=2)
    runner.run(row.pk, 2, worker="w2")
    row.reread()


def test_a_run_resumes_after_its_last_checkpoint(feature, journal):
    """Settled tasks are not run again; the task during which the worker died is, with the same context."""
    die_once = "lines.append('notify')\nif len(lines) == 2:\n    raise KeyboardInterrupt\nreturn ctx.mailed"
    row = queued(
        feature(mail="lines.append('mail')\nctx.mailed = 1", notify=die_once, publish="lines.append('publish')")
    )
    with pytest.raises(KeyboardInterrupt):
        runner.run(row.pk, 1, worker="w1")

    resume(row)

    assert journal() == ["mail", "notify", "notify", "publish"]
    assert [(e.name, e.state, e.token, e.worker) for e in executions(row)] == [
        ("mail", "succeeded", 1, "w1"),
        ("notify", "succeeded", 2, "w2"),
        ("publish", "succeeded", 2, "w2"),
    ]
    assert executions(row)[1].result == 1
    assert (row.state, row.token) == (RunState.SUCCEEDED, 2)


@pytest.mark.parametrize("routers", [[], ["tests.execution.test_runner.LaggingReplica"]], ids=["plain", "replica"])
def test_a_failure_before_the_last_checkpoint_still_counts(feature, settings, routers):
    """A run fails if a task failed under an earlier claim, wherever a database router sends reads."""
    settings.DATABASE_ROUTERS = routers
    die_once = "lines.append('notify')\nif len(lines) == 1:\n    raise KeyboardInterrupt"
    row = queued(feature(mail="raise ValueError('no')", notify=die_once))
    with pytest.raises(KeyboardInterrupt):
        runner.run(row.pk, 1, worker="w1")

    resume(row)

    assert states(row) == [("mail", "failed"), ("notify", "succeeded")]
    assert (row.state, row.reason) == (RunState.FAILED, "1 of 2 tasks failed: mail")


class LaggingReplica:
    """A router that sends reads to a replica that has no data yet."""

    def db_for_read(self, model, **hints):
        return "other"


# Signals


def test_what_is_sent_on_the_way(feature, listen):
    """C8: the signals of runs and tasks are sent in order, with the run and their subject."""
    sent = []

    def note(kind):
        def receiver(sender, run, **kwargs):
            about = kwargs.get("execution") or kwargs.get("task")
            sent.append((kind, sender, run.state, about.name if about else None))

        return receiver

    kinds = ["run_started", "task_started", "task_succeeded", "task_failed", "task_skipped", "run_succeeded"]
    for kind in [*kinds, "run_failed"]:
        listen(getattr(signals, kind), note(kind))

    run_through(feature(mail="pass", notify=task("raise ValueError", "stop_on_failure=True"), publish="pass"))

    assert sent == [
        ("run_started", FeatureRun, "running", None),
        ("task_started", FeatureRun, "running", "mail"),
        ("task_succeeded", FeatureRun, "running", "mail"),
        ("task_started", FeatureRun, "running", "notify"),
        ("task_failed", FeatureRun, "failed", "notify"),
        ("task_skipped", FeatureRun, "failed", "publish"),
        ("run_failed", FeatureRun, "failed", None),
    ]


@pytest.mark.parametrize("kind", ["run_started", "task_started", "task_succeeded", "run_succeeded"])
def test_a_receiver_that_raises_changes_nothing(feature, listen, caplog, kind):
    """A receiver's error is logged by Django, and the run continues."""

    def fail(**kwargs):
        raise RuntimeError("the receiver is broken")

    listen(getattr(signals, kind), fail)

    run = run_through(feature(mail="pass"))

    assert (run.state, states(run)) == (RunState.SUCCEEDED, [("mail", "succeeded")])
    assert "the receiver is broken" in caplog.text


# Coroutines


def test_a_coroutine_uses_the_orm(feature):
    """A task may be async; its queries, and those of functions that it calls, use the worker's connection."""
    body = """
        await Sale.objects.acreate(item="book")
        return [await Sale.objects.acount(), await sync_to_async(lambda: connection.in_atomic_block)()]
    """

    run = run_through(feature(mail=task(body, "atomic=True", define="async def")))

    assert executions(run)[0].result == [1, True]
    assert Sale.objects.get().item == "book"
