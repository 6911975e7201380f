"""Retry: all steps again, in a fresh transaction, with the same context."""

import json

import pytest
from django.db import transaction
from django.http import JsonResponse

from numflow_django import Retry
from numflow_django.exceptions import TransactionNotCommitted
from numflow_django.models import FeatureRun
from numflow_django.request import handling
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = "ctx.executions = ctx.get('executions', 0) + 1\nSale.objects.create(item=f'try {ctx.executions}')"
ANSWER = "return JsonResponse({'executions': ctx.executions})"


def failing(times, error="OSError('away')"):
    """The body of a step that fails in the first *times* executions."""
    return f"if ctx.executions <= {times}: raise {error}"


def retrying(**options):
    """An on_error that always wants a Retry."""
    return lambda self, error, ctx, request: Retry(**options)


@pytest.fixture
def naps(monkeypatch):
    """The seconds that requests have waited for; none of them is slept."""
    seconds = []
    monkeypatch.setattr(handling.time, "sleep", seconds.append)
    return seconds


def test_a_retry_leaves_nothing_of_the_failed_attempts(tree, enqueued):
    """A27: rows of failed attempts are not there; the context is kept; the async tasks are dispatched once."""
    view = feature(tree, COUNT, failing(2), ANSWER, tasks=["mail"], on_error=retrying())

    answer = ask(view)

    run = FeatureRun.objects.get()
    assert json.loads(answer.content) == {"executions": 3}
    assert [sale.item for sale in Sale.objects.all()] == ["try 3"]
    assert json.loads(run.context)["executions"] == 3
    assert (run.state, enqueued, answer["Numflow-Run"]) == ("queued", [run.pk], str(run.pk))
    assert [step["name"] for step in run.steps] == ["step1", "step2", "step3"]


@pytest.mark.parametrize(
    ("options", "executions"),
    [({"max_attempts": 1}, 1), ({"max_attempts": 3}, 3), ({"max_attempts": 50}, 11), ({}, 11)],
)
def test_retries_are_counted_as_executions(tree, options, executions):
    """A27: max_attempts=3 is three executions; without a limit there are eleven. Then the original error stands."""
    view = feature(
        tree,
        "request.trail.append(ctx.run_id)",
        "raise OSError(f'away {len(request.trail)}')",
        tasks=["mail"],
        on_error=retrying(**options),
    )
    request = posted()

    with pytest.raises(OSError, match="away") as caught:
        ask(view, request)

    assert str(caught.value) == f"away {executions}"
    assert len(request.trail) == executions
    assert len(set(request.trail)) == 1
    assert FeatureRun.objects.get().state == "rolled_back"


def test_after_the_last_attempt_the_error_has_its_json_answer(tree):
    """A27: after the last attempt a StepError is answered as it would be without a Retry."""
    view = feature(tree, "raise StepError('busy', status=503)", on_error=retrying(max_attempts=2))

    answer = ask(view)

    assert (answer.status_code, json.loads(answer.content)["error"]["message"]) == (503, "busy")


@pytest.mark.parametrize(
    "body",
    [
        "if ctx.executions > 1: return JsonResponse({'executions': ctx.executions})",
        f"if ctx.executions == 1: transaction.set_rollback(True)\n{ANSWER}",
    ],
)
def test_what_is_not_a_steps_error_is_retried_too(tree, body):
    """A26, A27: on_error may retry a request that no step answered, or whose transaction could not commit."""
    view = feature(tree, COUNT, body, on_error=retrying())

    answer = ask(view)

    assert json.loads(answer.content) == {"executions": 2}
    assert [sale.item for sale in Sale.objects.all()] == ["try 2"]


def test_a_failed_commit_is_retried_once_it_can_commit(tree, enqueued):
    """A27: each attempt has a transaction of its own, so that one whose connection was closed can be followed."""
    view = feature(
        tree, COUNT, "if ctx.executions == 1: connection.close()", ANSWER, tasks=["mail"], on_error=retrying()
    )

    answer = ask(view)

    assert json.loads(answer.content) == {"executions": 2}
    assert [sale.item for sale in Sale.objects.all()] == ["try 2"]
    assert enqueued == [FeatureRun.objects.get().pk]


def test_an_error_answer_is_not_retried(tree):
    """A27: a step that answers 503 has answered: on_error is not called."""
    view = feature(
        tree, "return HttpResponse('busy', status=503)", on_error=lambda self, error, ctx, request: pytest.fail("asked")
    )

    assert ask(view).content == b"busy"


def test_the_answer_after_a_retry_is_a_fresh_one(tree):
    """A27: an answer that a failed attempt had given with ``response`` does not count as this attempt's."""
    view = feature(
        tree,
        COUNT,
        "response.json({'executions': ctx.executions})\nif ctx.executions == 1: raise OSError('away')",
        on_error=retrying(),
    )

    assert json.loads(ask(view).content) == {"executions": 2}


def test_what_on_error_stores_is_named_after_it(tree, settings):
    """A value that on_error stored, and that cannot travel, is said to be set by on_error and not by a step."""
    settings.NUMFLOW = {"LOG_ROLLBACKS": None}

    def on_error(self, error, ctx, request):
        if isinstance(error, OSError):
            ctx.cause = error
            return Retry()
        return JsonResponse({"error": str(error)}, status=500)

    view = feature(tree, COUNT, failing(1), ANSWER, tasks=["mail"], on_error=on_error)

    answer = ask(view)

    assert json.loads(answer.content)["error"].endswith(f" ctx['cause'] was set by on_error of {tree.package}.shop")


def test_another_provider_can_be_tried(tree):
    """A28: a provider fallback: change the context, retry."""

    def on_error(self, error, ctx, request):
        if isinstance(error, ConnectionError) and ctx.providers:
            ctx.provider = ctx.providers.pop(0)
            return Retry()
        return None

    def initialize_context(self, ctx, request):
        ctx.provider, ctx.providers = "toss", ["kakao", "naver"]

    view = feature(
        tree,
        "if ctx.provider != 'naver': raise ConnectionError(ctx.provider)",
        "return HttpResponse(ctx.provider)",
        initialize_context=initialize_context,
        on_error=on_error,
    )

    assert ask(view).content == b"naver"


def test_waits_can_grow(tree, naps):
    """A28: exponential backoff: the delay of a Retry may follow from what the context counts."""

    def on_error(self, error, ctx, request):
        return Retry(delay=0.1 * 2**ctx.executions, max_attempts=4)

    view = feature(tree, COUNT, failing(3), ANSWER, on_error=on_error)

    answer = ask(view)

    assert json.loads(answer.content) == {"executions": 4}
    assert naps == [0.2, 0.4, 0.8]


def test_the_wait_is_outside_the_transaction(tree, monkeypatch):
    """A27: while a request waits for its next attempt, it holds no transaction and no lock."""
    held = []
    monkeypatch.setattr(
        handling.time, "sleep", lambda seconds: held.append(transaction.get_connection().in_atomic_block)
    )
    view = feature(tree, COUNT, failing(1), ANSWER, on_error=retrying(delay=5))

    ask(view)

    assert held == [False]


def test_a_transaction_that_never_commits_ends_in_its_error(tree):
    """A26, A27: a feature that can never commit raises its error after the last attempt, not a 2xx."""
    view = feature(
        tree,
        COUNT,
        "transaction.set_rollback(True)\nreturn HttpResponse('done')",
        on_error=retrying(max_attempts=3),
    )

    with pytest.raises(TransactionNotCommitted, match="the transaction on 'default' is marked for rollback"):
        ask(view)

    assert not Sale.objects.exists()
