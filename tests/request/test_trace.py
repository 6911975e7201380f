"""The trace: one log record for each request, with its steps, what they changed, and what came of it."""

import re
import threading
from contextlib import suppress

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections, transaction
from django.http import JsonResponse
from django.test import RequestFactory

from numflow_django import Retry, StepError
from numflow_django.broker import workers
from numflow_django.request import trace
from tests.market.models import Sale
from tests.support.brokers import registered_worker
from tests.support.serving import ask, feature, posted
from tests.support.sites import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"content_type": "application/json"}
ANSWER = "response.json({})"
UNREAD = "  input: not read by any step"


@pytest.fixture
def traces(settings, caplog):
    """The traces so far, their times as 0ms and their run as RUN."""
    settings.NUMFLOW = {"TRACE": True}
    caplog.set_level("INFO", "numflow_django.trace")

    def read():
        return [same(record.getMessage()) for record in caplog.records if record.name == "numflow_django.trace"]

    return read


def same(text):
    return re.sub("run [0-9a-f-]{36}", "run RUN", re.sub(r"\d+ms", "0ms", text))


def in_docs(label):
    """The trace that docs/how-to/trace.md shows."""
    page = (ROOT / "docs" / "how-to/trace.md").read_text(encoding="utf-8")
    return same(re.search(r"```text\n(.*?)\n```", page, re.DOTALL)[1]).replace("shop.create_order", label)


def lines(traces):
    """The lines of the one trace; that an empty form was not read is left out."""
    (text,) = traces()
    return [line for line in text.splitlines() if line != UNREAD]


def test_a_request_is_shown_step_by_step(tree, traces, server):
    """A37: method, path, the input, each step with its time and mark, what it stored, masked, and a summary."""
    registered_worker(server, "default")
    view = feature(
        tree,
        'ctx.sku = request.data["sku"]\nctx.password = request.data["password"]',
        'ctx.sale = Sale.objects.create(item=ctx.sku)\nctx.sale.pk = "1"',
        "ctx.sale.refresh_from_db\nresponse.json({}, status=201)",
        tasks=["send_email", "publish"],
    )

    ask(view, posted(data={"sku": "녹차", "password": "hunter2"}, **JSON))

    (text,) = traces()
    assert text == in_docs(view.feature.label)
    assert text == (
        f"[Feature] POST /shop/ ({view.feature.label})\n"
        "  input: {'sku': '녹차', 'password': ********}\n"
        "  [Step 100] step1 (0ms) ✓\n"
        "    + sku = '녹차'\n"
        "    + password = ********\n"
        "  [Step 200] step2 (0ms) ✓\n"
        "    + sale = Sale(id='1', item='녹차', quantity=1)\n"
        "  [Step 300] step3 (0ms) ✓ answered 201\n"
        "  [Summary] 201 in 0ms, 3/3 steps passed, committed; async tasks: send_email, publish "
        "(queue default, queued, run RUN)"
    )


@pytest.mark.parametrize(
    ("debug", "setting", "count"),
    [(False, None, 0), (True, None, 1), (True, False, 0), (False, True, 1)],
)
def test_the_trace_is_on_as_debug_is_or_as_the_setting_says(tree, traces, settings, debug, setting, count):
    """A37: without the setting the trace is on while DEBUG is."""
    settings.DEBUG = debug
    settings.NUMFLOW = {"TRACE": setting}

    ask(feature(tree, ANSWER))

    assert len(traces()) == count


@pytest.mark.parametrize("why", ["setting", "level"])
def test_a_trace_that_is_off_looks_at_nothing(tree, traces, settings, caplog, monkeypatch, why):
    """Off by the setting or by the logger's level, nothing is collected."""
    monkeypatch.setattr(trace, "RequestTrace", None)
    if why == "setting":
        settings.NUMFLOW = {"TRACE": False}
    else:
        caplog.set_level("WARNING", "numflow_django.trace")

    assert ask(feature(tree, "ctx.a = 1", ANSWER)).status_code == 200
    assert traces() == []


def test_what_a_step_changed_in_place_is_shown(tree, traces, django_assert_num_queries):
    """A37: a list, a dict and a model instance that were changed where they are; a key that is gone; no query."""
    view = feature(
        tree,
        "ctx.cart, ctx.facts, ctx.sale, ctx.old = [1], {'a': [1]}, Sale(item='tea'), 1",
        "ctx.cart.append(2)\nctx.facts['a'].append(2)\nctx.sale.item = 'coffee'\ndel ctx.old",
        "ctx.cart = [*ctx.cart]",
        ANSWER,
        atomic=False,
    )

    with django_assert_num_queries(0):
        ask(view)

    assert lines(traces)[6:11] == [
        "  [Step 200] step2 (0ms) ✓",
        "    ~ cart = [1, 2]",
        "    ~ facts = {'a': [1, 2]}",
        "    ~ sale = Sale(id=None, item='coffee', quantity=1)",
        "    - old",
    ]
    assert lines(traces)[11:13] == ["  [Step 300] step3 (0ms) ✓", "  [Step 400] step4 (0ms) ✓ answered 200"]


def test_a_step_that_raises_is_shown_with_its_error(tree, traces):
    """A37: the step that failed has its mark, what it stored before, and the error, masked."""
    view = feature(tree, "ctx.a = 1\nraise OSError('token=abc\\nsecond line')", ANSWER, tasks=["mail", "log"])

    with pytest.raises(OSError, match="token"):
        ask(view)

    assert lines(traces)[1:] == [
        "  [Step 100] step1 (0ms) ✗",
        "    + a = 1",
        "    OSError: token=********",
        "    second line",
        "  [Summary] 500 (raised) in 0ms, 0/2 steps passed, rolled back; 2 async tasks not run",
    ]


@pytest.mark.parametrize(
    ("bodies", "attributes", "summary"),
    [
        (["ctx.a = 1", "response.json({}, 409)", ANSWER], {}, "409 in 0ms, 1/3 steps passed, rolled back"),
        (["response.json({})", ANSWER], {}, "200 in 0ms, 1/2 steps passed, committed"),
        (["raise StepError('no', 418)"], {}, "418 in 0ms, 0/1 steps passed, rolled back"),
        (["raise Http404"], {}, "404 (raised) in 0ms, 0/1 steps passed, rolled back"),
        (["pass"], {}, "500 (raised) in 0ms, 1/1 steps passed, rolled back"),
        ([ANSWER], {"atomic": False}, "200 in 0ms, 1/1 steps passed, no transaction"),
        (
            ["response.json({}, 409)"],
            {"rollback_on_error_response": False},
            "409 in 0ms, 0/1 steps passed, committed",
        ),
        (["connection.close()\nresponse.json({})"], {}, "500 (raised) in 0ms, 1/1 steps passed, rolled back"),
    ],
)
def test_the_summary_says_what_came_of_it(tree, traces, bodies, attributes, summary):
    """A37: status, steps passed of those that there are, and whether their work was committed."""
    view = feature(tree, *bodies, **attributes)

    with suppress(Exception):
        ask(view)

    assert lines(traces)[-1] == f"  [Summary] {summary}"


def test_an_answer_that_refuses_is_no_pass(tree, traces):
    """A step that answers 4xx or 5xx is marked as one that failed."""
    ask(feature(tree, "response.json({}, 409)"))

    assert lines(traces)[1] == "  [Step 100] step1 (0ms) ✗ answered 409"


def test_a_commit_that_is_yet_to_come_is_shown(tree, traces):
    """Inside another transaction, the steps' work is committed with that."""
    view = feature(tree, ANSWER)

    with transaction.atomic():
        ask(view)

    assert lines(traces)[-1].endswith("1/1 steps passed, commits with the block around it")


def test_a_run_that_waits_is_shown(tree, traces):
    """The summary has the state of the run: one that starts later is waiting."""
    view = feature(tree, ANSWER, tasks=["mail"])
    source = "from numflow_django import async_task\n@async_task(start_after=60)\ndef mail(ctx): ...\n"
    tree.write({"shop/async_tasks/100_mail.py": source})

    ask(view)

    assert lines(traces)[-1].endswith("async tasks: mail (queue default, waiting, run RUN)")


def test_a_run_that_could_not_be_handed_to_redis_is_shown(tree, traces):
    """The summary has the state of the run after the dispatch: pending while no Redis can be reached."""
    ask(feature(tree, ANSWER, tasks=["mail"]))

    assert lines(traces)[-1].endswith("async tasks: mail (queue default, pending, run RUN)")


def start_hint(traces):
    """What the trace says after the summary."""
    shown = lines(traces)
    return shown[next(n for n, line in enumerate(shown) if "[Summary]" in line) + 1 :]


def test_a_queue_without_a_worker_is_shown(tree, traces, server):
    """The trace ends with what to start when no worker is registered for the run's queue."""
    registered_worker(server, "default")

    ask(feature(tree, ANSWER, tasks=["mail"], queue="mail"))

    assert start_hint(traces) == ["  (no worker serves the queue mail; start manage.py rqworker mail)"]


def test_a_worker_that_was_killed_serves_no_queue(tree, traces, server):
    """A worker whose key has expired counts no longer, although RQ still lists it."""
    server.delete(registered_worker(server, "default").key)

    ask(feature(tree, ANSWER, tasks=["mail"]))

    assert server.scard("rq:workers:default") == 1
    assert start_hint(traces) == ["  (no worker serves the queue default; start manage.py rqworker default)"]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("bodies", "tasks", "trace_on"),
    [([ANSWER], [], True), (["response.json({}, 409)"], ["mail"], True), ([ANSWER], ["mail"], False)],
    ids=["no tasks", "rolled back", "trace off"],
)
def test_only_a_run_in_redis_asks_for_a_worker(tree, traces, settings, monkeypatch, bodies, tasks, trace_on):
    """Redis is asked for workers only by a trace, and only if the request has left a run there."""
    asked = []
    monkeypatch.setattr(workers, "worker_count", asked.append)
    settings.NUMFLOW = {"TRACE": trace_on}

    ask(feature(tree, *bodies, tasks=tasks))

    assert asked == []


def test_a_run_that_commits_later_asks_for_no_worker(tree, traces, server):
    """Inside another transaction the run is not in Redis yet, and nothing is said about workers."""
    view = feature(tree, ANSWER, tasks=["mail"])

    with transaction.atomic():
        ask(view)

    assert start_hint(traces) == []


def test_a_redis_that_fails_after_the_dispatch_harms_nothing(tree, traces, server, monkeypatch):
    """A Redis that is gone when workers are looked for: the answer and the summary stand, and no hint is given."""
    view = feature(tree, ANSWER, tasks=["mail"])
    monkeypatch.setattr(workers, "WORKERS_BY_QUEUE_KEY", "numflow:mark:%s")  # a text where RQ keeps a set
    server.set("numflow:mark:default", "1")

    assert ask(view).status_code == 200
    assert start_hint(traces) == []


def test_each_attempt_is_shown(tree, traces):
    """A37: a retry shows the steps of each attempt and what on_error changed between them."""

    def on_error(self, error, ctx, request):
        ctx.provider = "second"
        return Retry(max_attempts=2)

    def initialize_context(self, ctx, request):
        ctx.provider = "first"

    view = feature(
        tree,
        "ctx.paid = ctx.provider == 'second'\nassert ctx.paid, 'declined'",
        ANSWER,
        initialize_context=initialize_context,
        on_error=on_error,
    )

    ask(view)

    assert lines(traces)[1:] == [
        "  [initialize_context] ✓",
        "    + provider = 'first'",
        "  [Step 100] step1 (0ms) ✗",
        "    + paid = False",
        "    AssertionError: declined",
        "  [on_error] Retry(delay=0, max_attempts=2)",
        "    ~ provider = 'second'",
        "  [Attempt 2]",
        "  [Step 100] step1 (0ms) ✓",
        "    ~ paid = True",
        "  [Step 200] step2 (0ms) ✓ answered 200",
        "  [Summary] 200 in 0ms, 2/2 steps passed, committed",
    ]


@pytest.mark.parametrize(
    ("handle", "shown"),
    [
        (lambda *_: JsonResponse({}, status=503), ["  [on_error] answered 503"]),
        (lambda *_: None, []),
        (lambda *_: 1 / 0, ["  [on_error] ✗ ZeroDivisionError: division by zero"]),
    ],
)
def test_what_on_error_decided_is_shown(tree, traces, handle, shown):
    """The trace shows the answer of on_error, and its own failure; one that leaves the error alone says nothing."""
    with suppress(Exception):
        ask(feature(tree, "raise OSError('away')", on_error=handle))

    assert lines(traces)[3:-1] == shown


def test_an_error_of_initialize_context_is_shown(tree, traces):
    """For a request that failed before its steps, the summary says that nothing began."""

    def initialize_context(self, ctx, request):
        ctx.a = 1
        raise StepError("no plan")

    ask(feature(tree, ANSWER, initialize_context=initialize_context))

    assert lines(traces)[1:] == [
        "  [initialize_context] ✗",
        "    + a = 1",
        "    StepError: no plan",
        "  [Summary] 400 in 0ms, 0/1 steps passed, nothing begun",
    ]


def test_an_error_after_the_steps_is_shown(tree, traces):
    """A context that cannot travel fails after the last step."""
    view = feature(tree, "ctx.r = request\nresponse.json({})", tasks=["mail"])

    with pytest.raises(TypeError):
        ask(view)

    assert lines(traces)[3] == "  [after the steps] ✗"
    assert lines(traces)[4].startswith("    ContextValueError: ctx.r is a django.core.handlers.wsgi.WSGIRequest")


# The input


def test_the_input_is_what_the_client_sent(tree, traces):
    """A step that changes request.data does not change the input that the trace shows."""
    ask(feature(tree, "request.data['sku'] = 'changed'\nresponse.json({})"), posted(data={"sku": "A-1"}, **JSON))

    assert lines(traces)[1] == "  input: {'sku': 'A-1'}"


def test_a_body_that_cannot_be_parsed_is_shown_as_it_came(tree, traces):
    """Invalid JSON is shown as text, masked."""
    ask(feature(tree, "request.data"), posted(data='{"password": "hunter2", "sku', **JSON))

    assert lines(traces)[1] == """  input: '{"password": ********, "sku'"""


def test_a_form_is_shown_with_its_files_and_the_query(tree, traces):
    """A form's fields, its files by name, the query string and the route's parameters are the input too."""
    photo = SimpleUploadedFile("tea.png", b"png")
    request = RequestFactory().post("/shop/?page=2&token=x", {"tag": ["a", "b"], "photo": photo})

    feature(tree, "request.POST\nresponse.json({})").as_view()(request, order_id=3)

    assert lines(traces)[1:5] == [
        "  params: {'order_id': 3}",
        "  query: {'page': '2', 'token': ********}",
        "  input: {'tag': ['a', 'b']}",
        "  files: {'photo': <InMemoryUploadedFile 'tea.png'>}",
    ]


def test_a_body_that_no_step_read_stays_unread(tree, traces):
    """A37: the trace never reads a body: what a view left in the stream is still there."""
    request = posted(data="a,b", content_type="text/csv")

    ask(feature(tree, ANSWER), request)

    assert traces()[0].splitlines()[1] == UNREAD
    assert not request._read_started  # a body that was read comes from memory, and can be read again
    assert request.read() == b"a,b"


def test_what_a_client_sends_cannot_look_like_the_trace(tree, traces):
    """A line feed in a path, or in an error, begins no line of the trace's own."""
    request = RequestFactory().post("/shop/%0a[Summary] 200")

    ask(feature(tree, "raise StepError('a\\n[Summary] 200\\x1b[2J')"), request)

    text = lines(traces)
    assert text[0].startswith(r"[Feature] POST /shop/\n[Summary] 200 (")
    assert text[2:4] == ["    StepError: a", r"    [Summary] 200\x1b[2J"]


# Concurrency and failures


def test_concurrent_requests_do_not_mix(tree, traces):
    """A37: two requests at once give two records, each whole."""
    view = feature(tree, "request.meet()\nctx.who = request.who", "request.meet()\nresponse.json({})", atomic=False)
    barrier = threading.Barrier(2, timeout=60)

    def request(who):
        request = posted()
        request.who, request.meet = who, barrier.wait
        ask(view, request)
        connections.close_all()

    threads = [threading.Thread(target=request, args=[who]) for who in ("minji", "jun")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(traces()) == 2
    for text, who in zip(sorted(traces()), ["jun", "minji"], strict=True):
        assert text.splitlines()[3] == f"    + who = '{who}'"
        assert "2/2 steps passed" in text


@pytest.mark.parametrize("broken", ["snapshot_of", "show", "given"])
def test_a_trace_that_fails_harms_nothing(tree, traces, monkeypatch, broken):
    """An error of the trace itself is no error of the request."""

    def fail(*args):
        raise RuntimeError("broken")

    monkeypatch.setattr(trace, broken, fail)

    ask(feature(tree, "ctx.sale = Sale.objects.create(item='tea')", ANSWER), posted(data={"a": 1}, **JSON))

    assert Sale.objects.count() == 1
    assert "  (the trace failed: RuntimeError: broken)" in traces()[0].splitlines()
