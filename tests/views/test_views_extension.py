"""The extension API of FeatureView: when each method is called, and what it decides."""

import pytest
from django.http import HttpResponse

from numflow_django import FeatureView
from numflow_django.exceptions import InvalidFeatures
from numflow_django.models import FeatureRun, RunState
from numflow_django.request.attempt import RollbackWithResponse
from tests.market.models import Sale
from tests.support.serving import ask, feature

pytestmark = pytest.mark.django_db(transaction=True)

SELL = "Sale.objects.create(item='tea')"
DONE = "return HttpResponse('done')"


def test_each_request_goes_through_handle_feature(tree):
    """handle_feature receives the request with its data, and its response is the response to the client."""

    def handle_feature(self, request):
        response = FeatureView.handle_feature(self, request)
        response.headers["X-Data"] = str(type(request.data).__name__)
        return response

    response = ask(feature(tree, DONE, handle_feature=handle_feature))

    assert (response.content, response.headers["X-Data"]) == (b"done", "FormData")


def test_run_feature_steps_is_called_for_each_attempt_in_its_transaction(tree):
    """What run_feature_steps does is part of the transaction: it rolls back with the steps."""
    attempts = []

    def run_feature_steps(self, ctx, request, attempt):
        Sale.objects.create(item=f"attempt {attempt.number}")
        attempts.append(attempt)
        return FeatureView.run_feature_steps(self, ctx, request, attempt)

    response = ask(feature(tree, SELL, "return HttpResponse(status=409)", run_feature_steps=run_feature_steps))

    assert response.status_code == 409
    assert not Sale.objects.exists()
    [attempt] = attempts
    assert [entry["name"] for entry in attempt.log] == ["step1", "step2"]
    assert (attempt.number, attempt.committed, attempt.failed_step) == (1, False, None)


def test_a_rollback_with_a_response(tree):
    """RollbackWithResponse rolls back, makes its response after that, and does not call on_error."""
    seen = []

    def run_feature_steps(self, ctx, request, attempt):
        FeatureView.run_feature_steps(self, ctx, request, attempt)
        raise RollbackWithResponse(lambda: HttpResponse(f"{Sale.objects.count()} sales", status=422))

    view = feature(
        tree,
        SELL,
        DONE,
        run_feature_steps=run_feature_steps,
        on_error=lambda self, error, ctx, request: seen.append(error),
    )

    response = ask(view)

    assert (response.status_code, response.content, seen) == (422, b"0 sales", [])


def test_each_response_of_a_step_is_rendered_by_render_step_response(tree):
    """render_step_response may replace a step's response; its error is the step's error."""
    view = feature(tree, DONE, render_step_response=lambda self, response: HttpResponse(response.content.upper()))
    broken = feature(tree, DONE, folder="broken", render_step_response=lambda self, response: 1 / 0)

    assert ask(view).content == b"DONE"
    with pytest.raises(ZeroDivisionError) as caught:
        ask(broken)
    assert caught.value.__notes__[0].startswith(f"feature {tree.package}.broken, step 100 step1 (")


def test_an_error_that_on_error_leaves_reaches_unhandled_error_response(tree):
    """unhandled_error_response receives the error and the log entry of the step that raised it, after the rollback."""

    def unhandled_error_response(self, error, failed_step, request):
        return HttpResponse(f"{error}, {failed_step['name']}, {Sale.objects.count()} sales", status=503)

    response = ask(feature(tree, SELL, "raise OSError('down')", unhandled_error_response=unhandled_error_response))

    assert (response.status_code, response.content) == (503, b"down, step2, 0 sales")


def test_an_error_outside_the_steps_has_no_failed_step(tree):
    """Before the first step, unhandled_error_response receives None in the place of a log entry."""

    def initialize_context(self, ctx, request):
        raise OSError("down")

    def unhandled_error_response(self, error, failed_step, request):
        return HttpResponse(repr((str(error), failed_step)), status=503)

    hooks = {"initialize_context": initialize_context, "unhandled_error_response": unhandled_error_response}

    assert ask(feature(tree, DONE, **hooks)).content == b"('down', None)"


@pytest.mark.parametrize(("status", "rows"), [(404, 0), (500, 1)])
def test_status_for_error_decides_whether_the_rollback_is_logged(tree, status, rows):
    """An error that is the client's mistake leaves no row; one of ours does."""
    view = feature(tree, "raise OSError('down')", status_for_error=lambda self, error: status)

    with pytest.raises(OSError, match="down"):
        ask(view)

    logged = FeatureRun.objects.filter(state=RunState.ROLLED_BACK, feature=f"{tree.package}.shop")
    assert [run.status_code for run in logged] == [status] * rows


def test_the_problems_of_a_class_are_mistakes_of_the_feature(tree):
    """Each text of class_problems is a mistake; as_view() passes its arguments."""

    class Adapted(FeatureView):
        page = None

        @classmethod
        def class_problems(cls, initkwargs):
            if not initkwargs.get("page", cls.page):
                yield "it has no page; set page"

    tree.write({"shop/steps/100_done.py": "def done(ctx, request, response): response.json({})\n"})
    view = type("View", (Adapted,), {"__module__": f"{tree.package}.shop", "steps": f"{tree.package}.shop.steps"})

    good = view.as_view(page="shop.html")
    assert view.feature.mistakes == ()
    assert callable(good)

    view.as_view()
    assert [str(mistake) for mistake in view.feature.mistakes] == [
        f"feature {view.feature.label}: it has no page; set page"
    ]
    with pytest.raises(InvalidFeatures, match="it has no page; set page"):
        ask(view)
