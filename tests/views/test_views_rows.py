"""What a request leaves in the table of runs: the run row, its frozen context, and the log of a rollback."""

import json
import logging
from contextlib import suppress
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpResponse
from django.test import RequestFactory

from numflow_django.exceptions import ContextTooLarge, ContextValueError
from numflow_django.models import FeatureRun
from numflow_django.signals import request_rolled_back
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted

pytestmark = pytest.mark.django_db

SELL = "Sale.objects.create(item='tea')"
DONE = "return HttpResponse('done')"
FAIL = "raise OSError('away')"


# The run row


def test_the_run_row_says_what_the_request_was(tree):
    """The run row holds the feature, its queue, its tasks in order, the request and the answer."""
    view = feature(tree, SELL, "return HttpResponse(status=201)", tasks=["mail", "notify"], queue="mail", method=None)
    request = RequestFactory().put("/shop/?page=1")

    ask(view, request)

    run = FeatureRun.objects.get()
    assert (run.feature, run.queue, run.task_names) == (f"{tree.package}.shop", "mail", ["mail", "notify"])
    assert (run.method, run.path, run.status_code, run.created_by) == ("PUT", "/shop/", 201, "")
    assert (run.state, run.dispatch_no, run.position, run.token, run.reason) == ("queued", 1, 0, 0, "")
    assert run.queued_at
    assert run.created_at
    assert (run.started_at, run.finished_at, run.claim_id) == (None, None, None)


def test_the_run_row_holds_the_steps_that_ran(tree):
    """The run row holds, for each step that ran, its number, its name and how long it took in milliseconds."""
    view = feature(tree, "pass", DONE, "raise AssertionError", tasks=["mail"])

    ask(view)

    steps = FeatureRun.objects.get().steps
    assert [(step["number"], step["name"]) for step in steps] == [(100, "step1"), (200, "step2")]
    assert all(set(step) == {"number", "name", "ms"} and step["ms"] >= 0 for step in steps)


def test_the_queue_is_that_of_the_settings(tree, settings):
    """A feature that names no queue uses NUMFLOW["QUEUE"]."""
    settings.NUMFLOW = {"QUEUE": "mail"}
    view = feature(tree, DONE, tasks=["mail"])

    ask(view)

    assert FeatureRun.objects.get().queue == "mail"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/nul\x00/", "/nul\N{REPLACEMENT CHARACTER}/"),
        ("/\ud800/", "/?/"),
        ("/가/", "/가/"),
        ("/" + "long" * 200, "/" + "long" * 31 + " [...] " + "long" * 92),
    ],
    ids=["NUL", "surrogate", "Korean", "long"],
)
@pytest.mark.parametrize("end", [DONE, FAIL])
def test_any_path_can_be_kept(tree, end, path, kept):
    """A path that the database could not hold, or not whole, neither fails the request nor hides its error."""
    view = feature(tree, end, tasks=["mail"], on_error=lambda self, error, ctx, request: HttpResponse(status=500))
    request = posted()
    request.path = path

    answer = ask(view, request)

    run = FeatureRun.objects.get()
    assert answer.status_code == run.status_code == (500 if end == FAIL else 200)
    assert run.path[:100] == kept[:100]
    assert run.path[-300:] == kept[-300:]
    assert len(run.path) <= 500


@pytest.mark.parametrize(
    ("user", "key"),
    [
        (None, ""),
        (AnonymousUser(), ""),
        (User(pk=7), "7"),
        (User(pk=0), "0"),
        (SimpleNamespace(pk="kim@example.com"), "kim@example.com"),
        (SimpleNamespace(pk="k" * 254), "k" * 50 + " [...] " + "k" * 143),
        (SimpleNamespace(), ""),
    ],
    ids=["none", "anonymous", "saved", "zero", "e-mail", "long", "keyless"],
)
@pytest.mark.parametrize("end", [DONE, FAIL])
def test_the_row_names_the_user_by_its_key(tree, end, user, key):
    """created_by is the user's key as text, empty without one; a key longer than the column fails no request."""
    view = feature(tree, end, tasks=["mail"], on_error=lambda self, error, ctx, request: HttpResponse(status=500))

    ask(view, posted(user=user))

    assert FeatureRun.objects.get().created_by == key


# The context


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("ctx.asked = object()", "ctx.asked is "),
        ("ctx.asked = Sale(item='x')", "ctx.asked is an unsaved market.Sale"),
        ("ctx.asked = {'prices': [float('nan')]}", "ctx.asked['prices'][0] is nan"),
        ("ctx.asked = Sale.objects.all()", "ctx.asked is a django.db.models.query.QuerySet"),
    ],
)
def test_a_context_that_cannot_travel_rolls_back(tree, body, place):
    """D6: what cannot travel is refused before COMMIT, with its key and the step that set it."""
    view = feature(tree, SELL, body, DONE, tasks=["mail"])

    with pytest.raises(ContextValueError) as caught:
        ask(view)

    assert str(caught.value).startswith(place)
    assert str(caught.value).endswith(f" ctx['asked'] was set by step 200 step2 of {tree.package}.shop")
    assert caught.value.__notes__[:-1] == [f"feature {tree.package}.shop, outside its steps"]
    assert not Sale.objects.exists()


def test_a_request_in_the_context_is_refused(tree):
    """D6: a request cannot travel; the message says what to do instead, and that initialize_context stored it."""

    def initialize_context(self, ctx, request):
        ctx.asked = request

    view = feature(tree, SELL, DONE, tasks=["mail"], initialize_context=initialize_context)

    with pytest.raises(
        ContextValueError, match="copy what you need of it, or keep it under a key that starts with _"
    ) as e:
        ask(view)

    assert str(e.value).endswith(f" ctx['asked'] was set by initialize_context of {tree.package}.shop")


def test_a_context_that_is_too_large_rolls_back(tree, settings):
    """D6: a context over CONTEXT_MAX_BYTES is refused before COMMIT, with its largest key and who set it."""
    settings.NUMFLOW = {"CONTEXT_MAX_BYTES": 100}
    view = feature(tree, SELL, "ctx.small = 1\nctx.large = 'x' * 200", DONE, tasks=["mail"])

    with pytest.raises(ContextTooLarge) as caught:
        ask(view)

    assert "its largest key is 'large'" in str(caught.value)
    assert str(caught.value).endswith(f" ctx['large'] was set by step 200 step2 of {tree.package}.shop")
    assert not Sale.objects.exists()


@pytest.mark.parametrize("tasks", [[], ["mail"]])
def test_what_stays_in_the_request_may_be_anything(tree, tasks):
    """A19: keys that start with _ never leave the request, and without async tasks nothing has to travel."""
    key = "_asked" if tasks else "asked"
    view = feature(tree, f"ctx.{key} = request\nctx.item = 'tea'", DONE, tasks=tasks)

    answer = ask(view)

    assert answer.content == b"done"
    assert [json.loads(run.context) for run in FeatureRun.objects.all()] == [{"item": "tea"}] * len(tasks)


def test_tasks_read_what_the_last_step_left(tree):
    """A19: the run row holds what all steps stored, also what a later step changed or deleted."""
    view = feature(
        tree,
        f"ctx.sale = {SELL}\nctx.items = ['tea']\nctx.draft = 1",
        "ctx.items.append('녹차')\ndel ctx.draft",
        DONE,
        tasks=["mail"],
    )

    ask(view)

    context = json.loads(FeatureRun.objects.get().context)
    assert context["items"] == ["tea", "녹차"]
    assert context["sale"]["pk"] == Sale.objects.get().pk
    assert "draft" not in context


# The log of rollbacks


@pytest.mark.parametrize(
    ("body", "reason", "status", "modes"),
    [
        (FAIL, "OSError: away", 500, ["errors", "all"]),
        ("return HttpResponse(status=503)", "answered 503", 503, ["errors", "all"]),
        ("raise StepError('busy', status=503)", "StepError: busy", 503, ["errors", "all"]),
        ("return HttpResponse(status=409)", "answered 409", 409, ["all"]),
        ("raise StepError('no')", "StepError: no", 400, ["all"]),
        ("raise ValidationError('no')", "ValidationError: ['no']", 400, ["all"]),
        ("raise Http404('gone')", "Http404: gone", 404, ["all"]),
        ("raise PermissionDenied('not you')", "PermissionDenied: not you", 403, ["all"]),
        ("request.data", "InvalidRequestData: unsupported content type 'text/csv'", 415, ["all"]),
        (DONE, "", 200, []),
    ],
)
@pytest.mark.parametrize("mode", ["errors", "all", None])
def test_a_rollback_leaves_a_row_as_the_settings_say(tree, settings, mode, body, reason, status, modes):
    """D2: LOG_ROLLBACKS "errors" keeps raised errors and 5xx, "all" the client's errors too, None nothing."""
    settings.NUMFLOW = {"LOG_ROLLBACKS": mode}
    view = feature(tree, body).as_view()

    with suppress(OSError, Http404, PermissionDenied):
        view(posted(data="a,b", content_type="text/csv"))

    rows = [(run.state, run.status_code, run.reason[: len(reason)]) for run in FeatureRun.objects.all()]
    assert rows == [("rolled_back", status, reason)] * (mode in modes)


def test_the_default_is_to_log_errors(tree, settings):
    """D2: without LOG_ROLLBACKS raised errors and 5xx leave a row, and 4xx do not."""
    settings.NUMFLOW = {}

    for n, status in enumerate((409, 503)):
        ask(feature(tree, f"return HttpResponse(status={status})", folder=f"shop{n}"))

    assert [run.status_code for run in FeatureRun.objects.all()] == [503]


def test_the_row_of_a_rollback_says_what_ran_and_what_did_not(tree):
    """D2: the row holds the steps that ran, the error of the last one, and the async tasks that were not run."""
    view = feature(tree, SELL, "raise OSError('away, password=hunter2')", DONE, tasks=["mail", "notify"])

    with pytest.raises(OSError, match="away"):
        ask(view, posted(user=User(pk=7)))

    run = FeatureRun.objects.get()
    assert (run.feature, run.state, run.created_by) == (f"{tree.package}.shop", "rolled_back", "7")
    assert (run.method, run.path, run.status_code) == ("POST", "/shop/", 500)
    assert [(step["name"], step.get("error")) for step in run.steps] == [
        ("step1", None),
        ("step2", "OSError: away, password=********"),
    ]
    assert run.reason == "OSError: away, password=********"
    assert run.task_names == ["mail", "notify"]
    assert (run.context, run.queued_at, run.dispatch_no) == ("{}", None, 0)
    assert run.finished_at


@pytest.mark.parametrize("end", ["return HttpResponse(status=503)", "raise StepError('busy', status=503)"])
def test_the_answer_carries_the_id_of_its_row(tree, end):
    """D2: the answer to a request that was rolled back names its row in the header Numflow-Run."""
    view = feature(tree, end)

    answer = ask(view)

    assert answer["Numflow-Run"] == str(FeatureRun.objects.get().pk)


def test_what_on_error_answers_is_logged_with_the_error(tree):
    """D2: an error that on_error answers with a 200 still leaves a row, which holds both."""
    view = feature(tree, FAIL, on_error=lambda self, error, ctx, request: HttpResponse("never mind"))

    ask(view)

    run = FeatureRun.objects.get()
    assert (run.status_code, run.reason) == (200, "OSError: away")


def test_an_error_of_initialize_context_is_logged_without_steps(tree):
    """D2: a request that never came to its steps leaves a row that holds none."""

    def initialize_context(self, ctx, request):
        raise LookupError("no such tenant")

    view = feature(tree, DONE, initialize_context=initialize_context)

    with pytest.raises(LookupError, match="no such tenant"):
        ask(view)

    run = FeatureRun.objects.get()
    assert (run.reason, run.steps) == ("LookupError: no such tenant", [])


def test_a_rollback_is_signalled_and_logged(tree, caplog):
    """D2: request_rolled_back is sent with the row, and the log has a line for it."""
    runs = []

    def receive(run, **facts):
        runs.append(run)

    request_rolled_back.connect(receive)
    view = feature(tree, "return HttpResponse(status=503)")
    caplog.set_level(logging.INFO, logger="numflow_django")

    ask(view)

    assert runs == [FeatureRun.objects.get()]
    assert f"request rolled back run={runs[0].pk} feature={tree.package}.shop reason='answered 503'" in caplog.text


@pytest.mark.parametrize("failure", [DatabaseError("disk full"), InterfaceError("closed"), ValueError("odd")])
def test_a_row_that_cannot_be_written_hides_nothing(tree, monkeypatch, caplog, failure):
    """D2: when the row of a rollback cannot be written, the request's own error is raised, and a warning is logged."""

    def create(**values):
        raise failure

    monkeypatch.setattr(FeatureRun.objects, "using", lambda alias: SimpleNamespace(log_rollback=create))
    view = feature(tree, FAIL)

    with pytest.raises(OSError, match="away"):
        ask(view)

    assert "rollback not logged run=" in caplog.text
    assert repr(failure) in caplog.text


def test_a_user_who_cannot_be_loaded_hides_nothing(tree):
    """D2: when the user cannot be asked for either, the request's own error is raised, and the row does without."""

    class Unreachable:
        @property
        def pk(self):
            raise DatabaseError("no connection")

    view = feature(tree, FAIL)

    with pytest.raises(OSError, match="away"):
        ask(view, posted(user=Unreachable()))

    assert FeatureRun.objects.get().created_by == ""


def test_a_row_that_cannot_be_written_leaves_the_answer_alone(tree, monkeypatch):
    """D2: without a row the answer has no Numflow-Run header that would lead nowhere."""
    monkeypatch.setattr(FeatureRun.objects, "using", lambda alias: None)
    view = feature(tree, "return HttpResponse('busy', status=503)")

    answer = ask(view)

    assert answer.content == b"busy"
    assert "Numflow-Run" not in answer
