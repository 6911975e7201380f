"""FeatureView as a class: its attributes, the methods that it answers, its decorators, its context."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import RequestFactory
from django.views.decorators.csrf import csrf_exempt

from numflow_django import Retry, StepError
from numflow_django.discovery.attributes import fixed_attribute_names
from numflow_django.exceptions import InvalidErrorHandlerResult, InvalidFeatures, InvalidStepResult
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted, route

pytestmark = pytest.mark.django_db

DONE = "return HttpResponse('done')"


# Attributes


@pytest.mark.parametrize("attribute", sorted(fixed_attribute_names()))
def test_fixed_attributes_are_refused_by_as_view(tree, attribute):
    """What the worker has to know as well is set on the class: as_view() refuses it and says so."""
    view = feature(tree, DONE)

    with pytest.raises(TypeError) as caught:
        view.as_view(**{attribute: None})

    assert str(caught.value) == f"View.as_view({attribute}=...): set {attribute} on the class, where the worker sees it"


def test_what_only_the_request_needs_may_be_given_to_as_view(tree):
    """as_view() takes the attributes that the worker does without."""
    view = feature(tree, "Sale.objects.create(item='tea')", "return HttpResponse(status=409)")

    answer = view.as_view(rollback_on_error_response=False)(posted())

    assert answer.status_code == 409
    assert view.feature.label == f"{tree.package}.shop"


def test_a_feature_with_mistakes_answers_no_request(tree):
    """A feature that cannot be loaded as it is written raises InvalidFeatures at each request, naming the mistake."""
    view = feature(tree, DONE)
    tree.write({"shop/steps/oops.py": ""})

    with pytest.raises(InvalidFeatures, match=r"1 mistake in the features:\n\(numflow\.E102\) .*oops\.py is not named"):
        ask(view)


# Methods


@pytest.mark.parametrize(
    ("method", "asked", "allow"),
    [
        ("POST", "GET", "POST, OPTIONS"),
        ("post", "put", "POST, OPTIONS"),
        ("GET", "POST", "GET, HEAD, OPTIONS"),
        ("DELETE", "HEAD", "DELETE, OPTIONS"),
        (None, "BREW", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, TRACE"),
    ],
)
def test_another_method_is_not_allowed(tree, caplog, method, asked, allow):
    """A34: a method that is not the feature's gets 405 with Allow, and no step runs."""
    view = feature(tree, "raise AssertionError", method=method)

    answer = ask(view, RequestFactory().generic(asked.upper(), "/shop/"))

    assert (answer.status_code, answer["Allow"]) == (405, allow)
    assert f"Method Not Allowed ({asked.upper()})" in caplog.text


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_without_a_method_every_method_is_answered(tree, method):
    """``method = None`` accepts every method."""
    view = feature(tree, "return HttpResponse(request.method)", method=None)

    answer = ask(view, RequestFactory().generic(method, "/shop/"))

    assert answer.content.decode() == method


@pytest.mark.parametrize(("method", "allow"), [("GET", "GET, HEAD, OPTIONS"), ("PUT", "PUT, OPTIONS")])
def test_options_are_answered_as_django_does(tree, method, allow):
    """A34: OPTIONS gets 200 with Allow, and no step runs."""
    view = feature(tree, "raise AssertionError", method=method)

    answer = ask(view, RequestFactory().options("/shop/"))

    assert (answer.status_code, answer["Allow"], answer["Content-Length"]) == (200, allow, "0")


def test_head_runs_the_steps_of_get(tree):
    """A34: HEAD is answered by the steps of GET."""
    view = feature(tree, "return HttpResponse(headers={'X-Stock': '7'})", method="GET")

    answer = ask(view, RequestFactory().head("/shop/"))

    assert (answer.status_code, answer["X-Stock"]) == (200, "7")


# Decorators


def marking(name):
    """A decorator that writes to the request's trail before and after the view."""

    def decorator(view):
        def decorated(request):
            request.trail.append(f"{name} in")
            answer = view(request)
            request.trail.append(f"{name} out")
            return answer

        return decorated

    return decorator


def test_decorators_are_around_the_context_and_the_steps_outermost_first(tree):
    """The first decorator is the outermost one; initialize_context comes after all of them."""
    view = feature(
        tree,
        f"request.trail.append('step'); {DONE}",
        decorators=[marking("outer"), marking("inner")],
        initialize_context=lambda self, ctx, request: request.trail.append("context"),
    )
    request = posted()

    ask(view, request)

    assert request.trail == ["outer in", "inner in", "context", "step", "inner out", "outer out"]


def test_a_decorator_that_answers_ends_the_request(tree):
    """A25: a decorator that answers leaves nothing to the context, the steps and the async tasks."""
    view = feature(
        tree,
        "raise AssertionError",
        tasks=["mail"],
        decorators=[lambda view: lambda request: HttpResponse("who are you?", status=401), marking("inner")],
        initialize_context=lambda self, ctx, request: request.trail.append("context"),
    )
    request = posted()

    answer = ask(view, request)

    assert (answer.status_code, answer.content, request.trail) == (401, b"who are you?", [])
    assert "Numflow-Run" not in answer


def test_what_a_decorator_says_about_the_view_is_kept(tree):
    """A decorator that marks the view, as csrf_exempt does, is seen by Django's middleware."""
    view = feature(tree, DONE, decorators=[csrf_exempt])

    assert view.as_view().csrf_exempt


# The context


def test_the_context_is_initialized_once_and_kept_on_a_retry(tree):
    """A24: initialize_context runs once for a request, before the first step, and not again on a retry."""

    def initialize_context(self, ctx, request):
        request.trail.append("context")
        ctx.attempts = []

    view = feature(
        tree,
        "ctx.attempts.append(len(ctx.attempts) + 1)",
        "if len(ctx.attempts) < 3: raise OSError('away')",
        "return JsonResponse({'attempts': ctx.attempts})",
        initialize_context=initialize_context,
        on_error=lambda self, error, ctx, request: Retry(),
    )
    request = posted()

    answer = ask(view, request)

    assert answer.content == b'{"attempts": [1, 2, 3]}'
    assert request.trail == ["context"]


def test_an_error_of_initialize_context_reaches_on_error(tree):
    """A24: on_error is called for an error of initialize_context too, and no step runs."""

    def initialize_context(self, ctx, request):
        raise LookupError("no such tenant")

    view = feature(
        tree,
        "raise AssertionError",
        initialize_context=initialize_context,
        on_error=lambda self, error, ctx, request: HttpResponse(f"{error}; {error.__notes__}", status=421),
    )

    answer = ask(view)

    assert answer.status_code == 421
    assert answer.content.decode() == f"no such tenant; ['feature {tree.package}.shop, initialize_context']"


def test_a_step_error_in_initialize_context_is_answered_without_a_step(tree):
    """A StepError of initialize_context becomes its JSON answer, which names no step."""

    def initialize_context(self, ctx, request):
        raise StepError("the shop is closed", status=503, code="closed")

    view = feature(tree, "raise AssertionError", initialize_context=initialize_context)

    answer = ask(view)

    assert answer.status_code == 503
    assert answer.content == b'{"error": {"message": "the shop is closed", "status": 503, "code": "closed"}}'


def test_an_error_of_initialize_context_cannot_be_retried(tree):
    """A24: a Retry for an error of initialize_context is an error that says why, caused by the first one."""

    def initialize_context(self, ctx, request):
        raise LookupError("no such tenant")

    view = feature(
        tree, DONE, initialize_context=initialize_context, on_error=lambda self, error, ctx, request: Retry()
    )

    with pytest.raises(InvalidErrorHandlerResult) as caught:
        ask(view)

    assert str(caught.value) == (
        f"feature {tree.package}.shop: on_error returned a Retry for an error of initialize_context, which runs once "
        "for a request; return an HttpResponse or None"
    )
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("returned", [HttpResponse(status=403), {"tenant": 1}, False])
def test_initialize_context_cannot_answer(tree, returned):
    """What initialize_context returns is refused, not ignored: an author may take it for an answer."""
    view = feature(tree, "raise AssertionError", initialize_context=lambda self, ctx, request: returned)

    with pytest.raises(InvalidStepResult) as caught:
        ask(view)

    assert str(caught.value) == (
        f"feature {tree.package}.shop: initialize_context returned a {type(returned).__name__}, which answers nothing; "
        "store values on ctx, or raise a StepError to refuse the request"
    )


def test_all_steps_of_a_request_share_one_context(tree):
    """A8: what a step stores, the later steps read, as an attribute or by key."""
    view = feature(tree, "ctx.price = 300", "ctx['total'] = ctx.price * 2", "return HttpResponse(ctx.total)")

    assert ask(view).content == b"600"


def test_a_request_starts_with_an_empty_context(tree):
    """A8: nothing of one request's context is left for the next request."""
    view = feature(tree, "return JsonResponse({'found': list(ctx), 'stored': setattr(ctx, 'price', 300)})").as_view()

    answers = [view(posted()).content for _ in range(2)]

    assert answers == [b'{"found": [], "stored": null}'] * 2


def test_concurrent_requests_have_contexts_of_their_own(tree):
    """A8: two requests that are between their steps at the same time do not see each other's values."""
    view = feature(
        tree, "ctx.name = request.headers['name']; request.meet()", "return HttpResponse(ctx.name)", atomic=False
    ).as_view()
    barrier = Barrier(2, timeout=10)

    def visit(name):
        request = posted(headers={"name": name})
        request.meet = barrier.wait
        return view(request).content.decode()

    with ThreadPoolExecutor(2) as visitors:
        answers = list(visitors.map(visit, ["Kim", "Lee"]))

    assert answers == ["Kim", "Lee"]


@pytest.mark.parametrize(("status", "sales"), [(201, 1), (409, 0)])
def test_a_feature_answers_in_an_async_server(tree, settings, async_client, status, sales):
    """A6: under ASGI the steps, async ones among them, share one transaction as they do under WSGI."""
    feature(
        tree,
        "await Sale.objects.acreate(item='tea')",
        f"await Sale.objects.aget()\nresponse.status({status}).json(request.data)",
    )
    route(tree, settings)

    answer = async_to_sync(async_client.post)("/shop/", {"item": "tea"}, content_type="application/json")

    assert (answer.status_code, answer.json()) == (status, {"item": "tea"})
    assert Sale.objects.count() == sales
