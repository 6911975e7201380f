"""Errors: JSON for those of the client, notes for those of the author, and on_error."""

import json
import logging

import pytest
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.test import RequestFactory

from numflow_django import StepError
from numflow_django.exceptions import InvalidErrorHandlerResult, InvalidRequestData, MissingResponseError, ReservedKey
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.serving import ask, feature, route

pytestmark = pytest.mark.django_db

SELL = "Sale.objects.create(item='tea')"


# request.data and JSON errors


def submitted(data, kind="application/json", method="POST"):
    # CONTENT_TYPE: the factory leaves it out for an empty body, and a server does not
    return RequestFactory().generic(method, "/shop/", data, content_type=kind, CONTENT_TYPE=kind)


def test_steps_read_the_body_as_data(tree):
    """request.data is the parsed body, the same object for all steps."""
    view = feature(
        tree,
        "request.data['item'] += '!'",
        "return JsonResponse(request.data, json_dumps_params={'ensure_ascii': False})",
    )

    answer = ask(view, submitted('{"item": "녹차"}'.encode()))

    assert answer.content.decode() == '{"item": "녹차!"}'


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b"{", "application/json", 400, "invalid JSON: Expecting property name enclosed in double quotes: line 1"),
        (b"", "application/json", 400, "invalid JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"a,b", "text/csv", 415, "unsupported content type 'text/csv': send application/json or a form"),
        (b"--", "multipart/form-data", 400, "invalid form data: Invalid boundary in multipart: None"),
    ],
)
def test_a_body_that_cannot_be_read_is_the_clients_error(tree, body, kind, status, message):
    """A body that cannot be read as request.data is answered in JSON, without a step: no step is to blame."""
    view = feature(tree, SELL, "request.data")

    answer = ask(view, submitted(body, kind))

    error = json.loads(answer.content)["error"]
    assert error["message"].startswith(message)
    assert error == {"message": error["message"], "status": status}
    assert answer.status_code == status
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        ("StepError('no tea')", 400, {"message": "no tea", "status": 400}),
        (
            "StepError('품절', status=409, code='sold_out', details={'남은': 0})",
            409,
            {"message": "품절", "status": 409, "code": "sold_out", "details": {"남은": 0}},
        ),
        ("ValidationError('too few', code='min')", 400, {"message": "too few", "status": 400, "code": "min"}),
        (
            "ValidationError({'item': ['empty', 'short']})",
            400,
            {"message": "validation failed", "status": 400, "code": "invalid", "details": {"item": ["empty", "short"]}},
        ),
    ],
)
def test_errors_for_the_client_are_answered_in_json(tree, raised, status, error):
    """A StepError or ValidationError becomes a JSON answer that names the step; nothing is committed."""
    view = feature(tree, SELL, f"raise {raised}", tasks=["mail"])

    answer = ask(view)

    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
    assert json.loads(answer.content) == {"error": error | {"step": {"number": 200, "name": "step2"}}}
    assert not Sale.objects.exists()


def test_json_errors_carry_korean_as_it_is(tree):
    """JSON answers hold Korean as UTF-8 and not as escapes."""
    view = feature(tree, "raise StepError('재고가 없습니다')")

    answer = ask(view)

    assert answer.content.decode().startswith('{"error": {"message": "재고가 없습니다", "status": 400')


def test_what_utf8_cannot_hold_is_escaped(tree):
    """A lone surrogate in an error's text does not turn a 400 into a 500."""
    view = feature(tree, "raise StepError('no \\ud83d')")

    answer = ask(view)

    assert (answer.status_code, json.loads(answer.content)["error"]["message"]) == (400, "no \ud83d")


@pytest.mark.parametrize(
    ("body", "kind", "take"),
    [
        (b"{}", "application/json", "request.data['sku']"),
        (b'{"order": {}}', "application/json", "request.data['order']['sku']"),
        (b'{"lines": [{}]}', "application/json", "request.data['lines'][0]['sku']"),
        (b"{}", "application/json", "request.data.pop('sku')"),
        (b"a=1", "application/x-www-form-urlencoded", "request.data['sku']"),
    ],
)
def test_a_key_that_the_client_did_not_send_is_a_400(tree, body, kind, take):
    """A step that takes a key of request.data which is not there fails with a 400 that names the key, and no step."""
    answer = ask(feature(tree, SELL, take), submitted(body, kind))

    assert answer.status_code == 400
    assert json.loads(answer.content) == {"error": {"message": "missing key 'sku'", "status": 400}}
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()


@pytest.mark.parametrize("take", ["dict(request.data)['sku']", "{}['sku']", "ctx['sku']", "request.POST['sku']"])
def test_a_key_that_the_author_misses_is_a_500(tree, take):
    """A KeyError of another dict than request.data is the author's error: a 500."""
    with pytest.raises(KeyError) as caught:
        ask(feature(tree, take), submitted(b"{}"))

    assert not isinstance(caught.value, StepError)


STORE_ALL = "for key, value in request.data.items():\n    ctx[key] = value\nresponse.json({})"


@pytest.mark.parametrize(
    ("body", "kind", "store"),
    [
        (b'{"sku": "A", "%s": 1}', "application/json", STORE_ALL),
        (b'{"order": [{"%s": 1}]}', "application/json", STORE_ALL.replace("data", "data['order'][0]")),
        (b"sku=A&%s=1", "application/x-www-form-urlencoded", STORE_ALL),
        (b'{"%s": 1}', "application/json", "from numflow_django import Context\nContext(**request.data)"),
        (b'{"%s": 1}', "application/json", "from numflow_django import start_run\nstart_run('{label}', request.data)"),
    ],
    ids=["object", "nested", "form", "Context", "start_run"],
)
@pytest.mark.parametrize("key", ["run_id", "task", "get", "keys", "_numflow"])
def test_a_client_that_sends_a_reserved_key_gets_a_400(tree, body, kind, store, key):
    """A step that stores whatever the client sent: a name that ctx has itself is a 400 that names the key."""
    view = feature(tree, SELL, store.replace("{label}", f"{tree.package}.shop"), tasks=["mail"])

    answer = ask(view, submitted(body % key.encode(), kind))

    assert answer.status_code == 400
    assert json.loads(answer.content) == {
        "error": {"message": f"reserved key {key!r}: choose another name", "status": 400}
    }
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()


def test_a_reserved_key_in_the_query_of_the_url_is_the_clients_too(tree):
    """A step that stores the parameters of the query answers a reserved one with a 400."""
    view = feature(tree, STORE_ALL.replace("data", "GET"))

    answer = ask(view, RequestFactory().post("/shop/?task=1"))

    assert (answer.status_code, json.loads(answer.content)["error"]["message"]) == (
        400,
        "reserved key 'task': choose another name",
    )


def test_on_error_gets_the_reserved_key_as_the_clients_mistake(tree):
    """on_error is called for the 400, whose cause is the error of ctx."""
    asked = []
    view = feature(tree, STORE_ALL, on_error=lambda self, error, ctx, request: asked.append(error))

    ask(view, submitted(b'{"run_id": 1}'))

    [error] = asked
    assert (type(error), type(error.__cause__)) == (InvalidRequestData, ReservedKey)


@pytest.mark.parametrize("store", ["ctx.run_id = 1", "ctx['run_id'] = 1", "ctx.get = request.data['get']"])
def test_a_reserved_key_of_the_authors_is_a_500(tree, store):
    """A name that ctx has itself, written in code, is the author's error whatever the client sent."""
    with pytest.raises(AttributeError, match="is reserved for the context itself; choose another name"):
        ask(feature(tree, store), submitted(b'{"get": 1}'))


def test_a_nul_in_the_url_is_a_400(tree, settings, client):
    """A route's parameter with a NUL, which PostgreSQL stores in no text, is refused when a step reads it."""
    feature(tree, "response.json({'sku': request.params['sku']})")
    route(tree, settings, path="shop/<str:sku>/")

    good, bad = client.post("/shop/A-1/"), client.post("/shop/A%001/")

    assert (good.status_code, good.json()) == (200, {"sku": "A-1"})
    assert (bad.status_code, bad.json()) == (
        400,
        {"error": {"message": "invalid parameter 'sku' in the URL: a text holds a NUL character", "status": 400}},
    )


# Errors of the author's


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise OSError('away')", OSError, "away"),
        ("{}['price']", KeyError, "'price'"),
        ("Sale.objects.get()", Sale.DoesNotExist, "Sale matching query does not exist."),
        ("response.send('done')\nraise OSError('after the answer')", OSError, "after the answer"),
        ("import asyncio\nawait asyncio.sleep(0)\nraise OSError('async')", OSError, "async"),
    ],
)
def test_an_error_of_a_step_keeps_its_type_and_says_where_it_was(tree, body, kind, message):
    """A13, A15: a step that raises, even after its answer: nothing committed; feature, number, name and file noted."""
    view = feature(tree, "pass", body, tasks=["mail"])

    with pytest.raises(kind) as caught:
        ask(view)

    file = tree.root / "shop/steps/200_step2.py"
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert caught.value.__notes__[:-1] == [f"feature {tree.package}.shop, step 200 step2 ({file})"]


def test_an_error_of_a_step_rolls_back(tree):
    """A13: a step that raises leaves nothing of the steps before it, and no run for a worker."""
    view = feature(tree, SELL, "raise OSError('away')", tasks=["mail"])

    with pytest.raises(OSError, match="away"):
        ask(view)

    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exclude(state="rolled_back").exists()


def test_no_answer_is_an_error(tree):
    """A14: no step answered: MissingResponseError that says which feature and how to fix it, nothing committed."""
    view = feature(tree, SELL, "pass", tasks=["mail"])

    with pytest.raises(MissingResponseError) as caught:
        ask(view)

    file = tree.root / "shop/steps/200_step2.py"
    assert str(caught.value) == (
        f"Feature completed without sending a response. feature {tree.package}.shop: let its last step, 200 step2 "
        f"({file}), return an HttpResponse or call response.json(...)"
    )
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exclude(state="rolled_back").exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("pass", 500),
        ("raise OSError('away')", 500),
        ("raise Http404('no such thing')", 404),
        ("raise PermissionDenied('not you')", 403),
        ("request.POST['missing']", 500),
    ],
)
def test_django_answers_what_nobody_else_does(tree, settings, client, body, status):
    """A13, A14: an error that on_error and JSON leave alone gets Django's own answer."""
    feature(tree, SELL, body)
    route(tree, settings)
    client.raise_request_exception = False

    answer = client.post("/shop/")

    assert answer.status_code == status
    assert not Sale.objects.exists()


def test_the_log_of_a_failed_request_says_where_it_was(tree, settings, client, caplog):
    """A13: the traceback that Django logs ends with feature, step number, step name and file, and with the run."""
    feature(tree, "raise OSError('away')")
    route(tree, settings)
    client.raise_request_exception = False

    client.post("/shop/")

    trace = next(record.exc_text or logging.Formatter().format(record) for record in caplog.records if record.exc_info)
    file = tree.root / "shop/steps/100_step1.py"
    place = f"OSError: away\nfeature {tree.package}.shop, step 100 step1 ({file})"
    assert trace.endswith(f"{place}\nrun {FeatureRun.objects.get().pk}, in the admin among the runs")


# on_error


def test_on_error_answers_after_the_rollback(tree):
    """A26: on_error is given the error, the context and the request, after the rollback; its answer is the answer."""

    def on_error(self, error, ctx, request):
        return HttpResponse(f"{error} {ctx.item} {request.path} {Sale.objects.count()}", status=502)

    view = feature(tree, f"ctx.item = 'tea'\n{SELL}", "raise OSError('away')", on_error=on_error)

    answer = ask(view)

    assert (answer.status_code, answer.content) == (502, b"away tea /shop/ 0")


def test_an_answer_of_on_error_commits_nothing(tree):
    """A26: also a 200 of on_error leaves the transaction rolled back and the async tasks not run."""
    view = feature(
        tree,
        SELL,
        "raise OSError('away')",
        tasks=["mail"],
        on_error=lambda self, error, ctx, request: HttpResponse("never mind"),
    )

    answer = ask(view)

    assert (answer.status_code, answer.content) == (200, b"never mind")
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exclude(state="rolled_back").exists()


def test_on_error_gets_the_missing_answer(tree):
    """A26: on_error is called if no step has a response."""
    view = feature(
        tree, "pass", on_error=lambda self, error, ctx, request: HttpResponse(type(error).__name__, status=501)
    )

    answer = ask(view)

    assert (answer.status_code, answer.content) == (501, b"MissingResponseError")


def test_on_error_goes_before_the_json_answer(tree):
    """A26: on_error is called for a StepError too, before it becomes JSON."""
    view = feature(
        tree, "raise StepError('no')", on_error=lambda self, error, ctx, request: HttpResponse("mine", status=418)
    )

    assert ask(view).content == b"mine"


def test_without_a_verdict_the_error_goes_on(tree):
    """A26: when on_error returns None, the error itself is raised."""
    view = feature(tree, "raise OSError('away')", on_error=lambda self, error, ctx, request: None)

    with pytest.raises(OSError, match="away"):
        ask(view)


@pytest.mark.parametrize("verdict", [True, "text", {"error": "no"}, 500])
def test_on_error_cannot_return_anything_else(tree, verdict):
    """A26: what is no response, Retry or None is an error that says so, caused by the step's."""
    view = feature(tree, "raise OSError('away')", on_error=lambda self, error, ctx, request: verdict)

    with pytest.raises(InvalidErrorHandlerResult) as caught:
        ask(view)

    assert str(caught.value) == (
        f"feature {tree.package}.shop: on_error returned a {type(verdict).__name__}; return an HttpResponse, a Retry "
        "or None"
    )
    assert isinstance(caught.value.__cause__, OSError)


def test_an_error_of_on_error_goes_on_with_the_first_one_in_its_context(tree):
    """A26: on_error may raise: its error is the one that is raised, and the step's is not lost."""

    def on_error(self, error, ctx, request):
        raise LookupError("no such handler")

    view = feature(tree, "raise OSError('away')", on_error=on_error)

    with pytest.raises(LookupError, match="no such handler") as caught:
        ask(view)

    assert isinstance(caught.value.__context__, OSError)


def test_on_error_may_raise_a_step_error(tree):
    """A26: a StepError that on_error raises becomes its JSON answer."""

    def on_error(self, error, ctx, request):
        raise StepError("try again later", status=503) from error

    view = feature(tree, "raise OSError('away')", on_error=on_error)

    answer = ask(view)

    assert json.loads(answer.content)["error"]["message"] == "try again later"
    assert answer.status_code == 503


def test_errors_of_tasks_do_not_reach_on_error(tree):
    """A22: on_error is not called for a request whose steps succeeded, whatever its tasks will do."""
    view = feature(
        tree,
        "return HttpResponse('done')",
        tasks=["mail"],
        on_error=lambda self, error, ctx, request: pytest.fail("asked"),
    )

    assert ask(view).content == b"done"


# Errors in errors


def test_details_that_json_cannot_hold_are_an_error(tree):
    """A StepError whose details are no JSON is the author's mistake: a TypeError, with the StepError in its context."""
    view = feature(tree, "raise StepError('no', details=object())")

    with pytest.raises(TypeError, match="Object of type object is not JSON serializable") as caught:
        ask(view)

    assert str(caught.value.__context__) == "no"
    assert FeatureRun.objects.get().reason == "TypeError: Object of type object is not JSON serializable"


def test_an_error_whose_text_fails_is_still_the_error(tree):
    """An error that cannot be turned into text, as a ValidationError with the wrong params, hides nothing."""
    view = feature(
        tree,
        "raise ValidationError('at least %(limit)s', params={'min': 1})",
        on_error=lambda self, error, ctx, request: HttpResponse(type(error).__name__, status=500),
    )

    answer = ask(view)

    run = FeatureRun.objects.get()
    assert answer.content == ValidationError.__name__.encode()
    assert run.reason == "ValidationError (its message cannot be shown: KeyError: 'limit')"
    assert run.steps[0]["error"] == run.reason
