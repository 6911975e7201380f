"""What the steps' answer decides: the later steps, the transaction, the async tasks and the response."""

import json

import pytest
from django.http import HttpResponse

from numflow_django.exceptions import InvalidStepResult, ResponseAlreadySent
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted

SELL = "Sale.objects.create(item='tea')"


def answering(status, place):
    """Bodies of steps that sell something and answer with *status*, from the first step or the last."""
    answer = f"{SELL}\nreturn HttpResponse('answer', status={status})"
    return [answer, "raise AssertionError"] if place == "first" else ["pass", SELL, answer]


# Which steps run, and what becomes of their work


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("status", [200, 202, 204, 302, 304])
def test_an_answer_below_400_commits_and_hands_over_to_the_tasks(tree, enqueued, status, place):
    """A11: a 2xx or 3xx, from the first step or the last: later steps skipped, committed, async tasks dispatched."""
    view = feature(tree, *answering(status, place), tasks=["mail"])

    answer = ask(view)

    run = FeatureRun.objects.get()
    assert (answer.status_code, answer.content) == (status, b"answer")
    assert Sale.objects.exists()
    assert enqueued == [run.pk]
    assert answer["Numflow-Run"] == str(run.pk)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_an_answer_from_400_rolls_back(tree, enqueued, settings, status, place):
    """A12: a 4xx or 5xx, from the first step or the last: later steps skipped, nothing committed, no async task."""
    settings.NUMFLOW = {"LOG_ROLLBACKS": None}
    view = feature(tree, *answering(status, place), tasks=["mail"])

    answer = ask(view)

    assert (answer.status_code, answer.content) == (status, b"answer")
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()
    assert enqueued == []
    assert "Numflow-Run" not in answer


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("status", [400, 503])
def test_an_error_answer_may_commit(tree, enqueued, status, place):
    """A12: with rollback_on_error_response = False a 4xx or 5xx commits the steps' work, and no async task runs."""
    view = feature(tree, *answering(status, place), tasks=["mail"], rollback_on_error_response=False)

    answer = ask(view)

    assert (answer.status_code, answer.content) == (status, b"answer")
    assert Sale.objects.exists()
    assert not FeatureRun.objects.exists()
    assert enqueued == []


@pytest.mark.django_db
def test_a_step_that_returns_nothing_hands_over(tree):
    """A9, A10: a step that returns nothing hands over to the next; the one that answers ends the steps."""
    view = feature(
        tree,
        "request.trail.append(1)",
        "request.trail.append(2); return None",
        "request.trail.append(3); return HttpResponse('third')",
        "request.trail.append(4)",
    )
    request = posted()

    answer = ask(view, request)

    assert answer.content == b"third"
    assert request.trail == [1, 2, 3]


@pytest.mark.django_db
def test_steps_run_by_number_as_an_integer(tree):
    """A1: 10, 50, 100, 150, 200, 1000, and not as text sorts them."""
    step = "def step(ctx, request):\n    request.trail.append(__name__.rpartition('.')[2])\n"
    tree.feature("shop", steps={f"{n}_s{n}.py": step for n in (1000, 200, 50, 10, 150)})
    tree.write({"shop/steps/1001_end.py": "from django.http import *\ndef end(ctx):\n    return HttpResponse()\n"})
    tree.write({"shop/steps/100_s100.py": step})
    request = posted()

    ask(tree.view("shop"), request)

    assert request.trail == ["10_s10", "50_s50", "100_s100", "150_s150", "200_s200", "1000_s1000"]


@pytest.mark.django_db(transaction=True)
def test_a_feature_without_tasks_writes_no_run(tree, enqueued):
    """A5: a feature without async tasks commits its steps' work, writes no run row and enqueues nothing."""
    view = feature(tree, SELL, "return HttpResponse(ctx.run_id)")

    answer = ask(view)

    assert Sale.objects.exists()
    assert not FeatureRun.objects.exists()
    assert enqueued == []
    assert "Numflow-Run" not in answer


@pytest.mark.django_db(transaction=True)
def test_the_request_does_not_run_the_tasks(tree, enqueued):
    """A16: the answer is there before any async task has started; the run waits for a worker."""
    view = feature(tree, "return HttpResponse('at once')", tasks=["mail", "notify", "publish"])

    answer = ask(view)

    run = FeatureRun.objects.get()
    assert answer.content == b"at once"
    assert (run.state, run.position, run.started_at) == ("queued", 0, None)
    assert run.task_names == ["mail", "notify", "publish"]


@pytest.mark.django_db
def test_a_test_case_can_have_the_dispatch(tree, enqueued, django_capture_on_commit_callbacks):
    """C15: inside a TestCase, where nothing commits, the dispatch is an on_commit callback that can be captured."""
    view = feature(tree, SELL, "return HttpResponse('done')", tasks=["mail"])

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        ask(view)

    assert len(callbacks) == 1
    assert enqueued == [FeatureRun.objects.get().pk]


@pytest.mark.django_db
def test_steps_know_the_run(tree):
    """ctx.run_id is the id of the run row and of the Numflow-Run header."""
    view = feature(tree, "return HttpResponse(str(ctx.run_id))", tasks=["mail"])

    answer = ask(view)

    assert answer.content.decode() == answer["Numflow-Run"] == str(FeatureRun.objects.get().pk)


# The response parameter


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status", "kind", "content"),
    [
        ("response.json({'title': '녹차'}, status=201)", 201, "application/json", '{"title": "녹차"}'),
        ("response.status(202).json([1, 2])", 202, "application/json", "[1, 2]"),
        ("return response.json({'a': 1})", 200, "application/json", '{"a": 1}'),
        ("response.send('안녕')", 200, "text/html; charset=utf-8", "안녕"),
        ("response.redirect('/thanks/')", 302, "text/html; charset=utf-8", ""),
    ],
)
def test_a_step_answers_with_its_third_parameter(tree, body, status, kind, content):
    """A10: an answer given with ``response`` ends the steps like a returned one."""
    view = feature(tree, body, "raise AssertionError")

    answer = ask(view)

    assert (answer.status_code, answer["Content-Type"], answer.content.decode()) == (status, kind, content)


@pytest.mark.django_db
def test_an_error_answer_of_the_third_parameter_rolls_back(tree):
    """A12: response.status(400).json(...) rolls back as a returned 400 does."""
    view = feature(tree, f"{SELL}\nresponse.status(400).json({{'error': 'no'}})", tasks=["mail"])

    answer = ask(view)

    assert (answer.status_code, json.loads(answer.content)) == (400, {"error": "no"})
    assert not Sale.objects.exists()


@pytest.mark.django_db
def test_a_status_that_an_earlier_step_set_holds(tree):
    """response.status() holds for the answer of a later step of the same request."""
    view = feature(tree, "response.status(201)", "response.json({})")

    assert ask(view).status_code == 201


@pytest.mark.django_db
def test_answering_twice_with_the_third_parameter_is_an_error(tree):
    """A second answer of one step is an error whose note names the step, and nothing is committed."""
    view = feature(tree, SELL, "response.json({})\nresponse.send('again')")

    with pytest.raises(ResponseAlreadySent, match="the step answers a second time; return after the first answer") as e:
        ask(view)

    assert e.value.__notes__[0].startswith(f"feature {tree.package}.shop, step 200 step2 (")
    assert not Sale.objects.exists()


@pytest.mark.django_db
def test_returning_anything_else_is_an_error(tree):
    """A9: A step that returns neither None nor an HttpResponse is an error that names the step and what to write."""
    view = feature(tree, f"{SELL}\nreturn {{'id': 1}}")

    with pytest.raises(InvalidStepResult) as caught:
        ask(view)

    file = tree.root / "shop/steps/100_step1.py"
    assert str(caught.value) == (
        f"step 100 step1 ({file}) returned a dict, which is not a response; to answer with it, return "
        "JsonResponse(...) or call response.json(...); to hand it to the next step, store it on ctx"
    )
    assert not Sale.objects.exists()


# Async steps


@pytest.mark.django_db(transaction=True)
def test_an_async_step_works_in_the_same_transaction(tree):
    """A6: what an async step writes is rolled back with the rest."""
    view = feature(
        tree,
        "await Sale.objects.acreate(item='tea')",
        "request.trail.append(Sale.objects.count()); raise OSError('away')",
    )
    request = posted()

    with pytest.raises(OSError, match="away"):
        ask(view, request)

    assert request.trail == [1]
    assert not Sale.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_async_step_answers(tree, enqueued):
    """A6: an async step answers like any other, and its work is committed."""
    view = feature(
        tree, "sale = await Sale.objects.acreate(item='tea')\nresponse.json({'item': sale.item})", tasks=["mail"]
    )

    answer = ask(view)

    assert json.loads(answer.content) == {"item": "tea"}
    assert Sale.objects.exists()
    assert len(enqueued) == 1


@pytest.mark.django_db
def test_a_step_may_take_fewer_parameters(tree):
    """A6: a step takes (ctx), (ctx, request) or (ctx, request, response)."""
    steps = {
        "100_one.py": "def one(ctx):\n    ctx.n = 1\n",
        "200_two.py": "def two(ctx, request):\n    ctx.path = request.path\n",
        "300_three.py": "def three(ctx, request, response):\n    response.send(f'{ctx.n} {ctx.path}')\n",
    }
    tree.feature("shop", steps=steps)

    answer = ask(tree.view("shop"))

    assert isinstance(answer, HttpResponse)
    assert answer.content == b"1 /shop/"
