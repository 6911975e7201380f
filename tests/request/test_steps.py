"""Steps run one after another on one context until one answers; the log holds the result of each."""

import contextvars
import threading

import pytest
from django.core.exceptions import ValidationError
from django.http import HttpResponse, StreamingHttpResponse
from django.template import TemplateDoesNotExist
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.test import RequestFactory

from numflow_django import Context, StepError
from numflow_django.discovery.modules import Module
from numflow_django.exceptions import InvalidStepResult, MissingResponseError, ResponseAlreadySent
from numflow_django.request.attempt import Attempt
from numflow_django.request.http import describe
from numflow_django.request.steps import run_steps
from numflow_django.request.trace import SILENT


def step(function, *, number=100, arity=3, is_async=False):
    name = function.__name__
    file = f"steps/{number}_{name}.py"
    return Module(number=number, name=name, dotted=name, file=file, function=function, arity=arity, is_async=is_async)


def run(*steps, ctx=None, log=None):
    attempt = Attempt(1, SILENT.step, log=[] if log is None else log)
    return run_steps(steps, "shop.buy", ctx or Context(), RequestFactory().get("/"), attempt)


def answer(ctx, request, response):
    return HttpResponse("done")


def silent(ctx, request, response):
    pass


def test_the_first_answer_ends_the_steps():
    """A10: the steps end with the first that answers; the log holds those that ran."""
    log = []

    returned = run(step(silent), step(answer, number=200), step(answer, number=300), log=log)

    assert returned.content == b"done"
    assert [(entry["number"], entry["name"]) for entry in log] == [(100, "silent"), (200, "answer")]
    assert all(set(entry) == {"number", "name", "ms"} for entry in log)


def test_the_log_tells_how_long_a_step_took(monkeypatch):
    """The log holds the milliseconds of each step, also of one that failed."""

    def fail(ctx, request, response):
        raise OSError("away")

    log = []
    monkeypatch.setattr("numflow_django.request.steps.perf_counter", iter([1.0, 1.0025, 2.0, 2.5]).__next__)

    with pytest.raises(OSError, match="away"):
        run(step(silent), step(fail, number=200), log=log)

    assert [entry["ms"] for entry in log] == [2.5, 500.0]


@pytest.mark.parametrize("arity", [1, 2, 3])
def test_a_step_gets_as_many_parameters_as_it_takes(arity):
    """A6: a step is called with ctx, then request, then response, as far as it takes them."""
    seen = []
    ctx = Context()

    def collect(*parameters):
        seen.extend(parameters)
        return HttpResponse()

    run(step(collect, arity=arity), ctx=ctx)

    assert [type(parameter).__name__ for parameter in seen] == ["Context", "WSGIRequest", "FeatureResponse"][:arity]
    assert seen[0] is ctx


def test_an_answer_may_be_of_any_kind():
    """Everything that Django can send is a response, a stream too."""

    def stream(ctx, request, response):
        return StreamingHttpResponse(iter([b"a", b"b"]))

    assert b"".join(run(step(stream))) == b"ab"


def test_a_template_response_is_rendered_by_its_step():
    """A template that cannot be rendered is an error of its step, and not one that comes after the COMMIT."""

    def page(ctx, request, response):
        return TemplateResponse(request, "no such page.html")

    with pytest.raises(TemplateDoesNotExist, match=r"no such page\.html") as caught:
        run(step(page))

    assert caught.value.__notes__ == ["feature shop.buy, step 100 page (steps/100_page.py)"]


def test_a_template_response_may_become_another_one():
    """The result of a render callback of a TemplateResponse is the response."""

    def page(ctx, request, response):
        answer = SimpleTemplateResponse("admin/404.html")
        answer.add_post_render_callback(lambda answer: HttpResponse("from the cache"))
        return answer

    assert run(step(page)).content == b"from the cache"


def test_the_answer_may_be_given_and_returned():
    """Returning what response.json() gave is one answer and not two."""

    def both(ctx, request, response):
        return response.json({})

    assert run(step(both)).content == b"{}"


def test_an_async_step_is_waited_for_in_the_contexts_of_the_request():
    """A6: an async step is waited for, and its ORM calls come back to the request's own thread."""
    from asgiref.sync import sync_to_async

    variable = contextvars.ContextVar("variable")
    variable.set("the request's")

    async def look(ctx, request, response):
        thread = await sync_to_async(threading.get_ident)()
        response.json({"same thread": thread == ctx.thread, "variable": variable.get()})

    returned = run(step(look, is_async=True), ctx=Context(thread=threading.get_ident()))

    assert returned.content == b'{"same thread": true, "variable": "the request\'s"}'


def test_values_are_signed_by_the_step_that_stored_them():
    """D6: each key of the context remembers which step stored it last."""

    def one(ctx, request, response):
        ctx.first = ctx.second = 1

    def two(ctx, request, response):
        ctx.second = 2
        return HttpResponse()

    ctx = Context()

    run(step(one), step(two, number=200), ctx=ctx)

    authors = {key: str(author) for key, author in ctx._numflow.authors.items()}
    assert authors == {"first": "step 100 one of shop.buy", "second": "step 200 two of shop.buy"}


@pytest.mark.parametrize("error", [OSError("away"), StepError("no"), StopIteration(), AssertionError()])
def test_an_error_keeps_its_type_and_gets_a_note(error):
    """A13: the error itself is raised, with a note that names feature, number, name and file; the log holds it."""

    def fail(ctx, request, response):
        raise error

    log = []

    with pytest.raises(type(error)) as caught:
        run(step(silent), step(fail, number=200), step(answer, number=300), log=log)

    assert caught.value is error
    assert error.__notes__ == ["feature shop.buy, step 200 fail (steps/200_fail.py)"]
    assert [entry.get("error") for entry in log] == [None, f"{type(error).__name__}: {error}"]


def test_an_answer_before_an_error_does_not_count():
    """A15: a step that answers and then raises has raised."""

    def fail(ctx, request, response):
        response.json({})
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        run(step(fail))


def test_no_answer_is_an_error():
    """A14: when no step answers, the error names the feature and the step that should have."""
    with pytest.raises(MissingResponseError) as caught:
        run(step(silent), step(silent, number=200))

    assert str(caught.value) == (
        "Feature completed without sending a response. feature shop.buy: let its last step, 200 silent "
        "(steps/200_silent.py), return an HttpResponse or call response.json(...)"
    )


@pytest.mark.parametrize("value", [{"id": 1}, "", 0, False, HttpResponse])
def test_a_step_returns_an_answer_or_nothing(value):
    """A9: What is neither None nor an HttpResponse is refused, falsy values too, with the step's name."""

    def wrong(ctx, request, response):
        return value

    log = []

    with pytest.raises(InvalidStepResult) as caught:
        run(step(wrong), log=log)

    assert str(caught.value) == (
        f"step 100 wrong (steps/100_wrong.py) returned a {type(value).__name__}, which is not a response; to answer "
        "with it, return JsonResponse(...) or call response.json(...); to hand it to the next step, store it on ctx"
    )
    assert log[0]["error"] == f"InvalidStepResult: {caught.value}"


def test_a_coroutine_that_is_never_awaited_is_refused():
    """A6: For a plain function that returns a coroutine, the error says to make it async."""

    async def work():
        raise AssertionError

    def wrong(ctx):
        return work()

    with pytest.raises(InvalidStepResult) as caught:
        run(step(wrong, arity=1))

    assert str(caught.value) == (
        "step 100 wrong (steps/100_wrong.py) returned a coroutine, which is never awaited; use 'async def'"
    )


def test_two_answers_are_refused():
    """An answer with ``response`` and another one returned is refused, with the step's name."""

    def twice(ctx, request, response):
        response.json({})
        return HttpResponse()

    with pytest.raises(ResponseAlreadySent) as caught:
        run(step(twice))

    assert str(caught.value) == (
        "step 100 twice (steps/100_twice.py) answered with response and returned another answer"
    )


@pytest.mark.parametrize(("wanted", "returned", "refused"), [(404, 200, True), (201, 201, False)])
def test_a_status_is_not_lost(wanted, returned, refused):
    """response.status() beside a returned answer of another status is refused; one of the two would be ignored."""

    def mixed(ctx, request, response):
        response.status(wanted)
        return HttpResponse(status=returned)

    try:
        outcome = run(step(mixed))
    except InvalidStepResult as error:
        outcome = error

    if refused:
        assert str(outcome) == (
            "step 100 mixed (steps/100_mixed.py) returned an answer with status 200 after response.status(404); "
            "answer with response, or give the returned answer its status"
        )
    else:
        assert outcome.status_code == 201


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("away"), "OSError: away"),
        (KeyError("price"), "KeyError: 'price'"),
        (
            ValidationError("%(limit)s", params={"min": 1}),
            "ValidationError (its message cannot be shown: KeyError: 'limit')",
        ),
    ],
)
def test_an_error_can_always_be_described(error, line):
    """An error is described by its type and text, or by its type alone if its text fails."""
    assert describe(error) == line
