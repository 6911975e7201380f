"""The response parameter, request.data, and the JSON answers for errors."""

import copy
import json
import pickle
from datetime import date
from decimal import Decimal

import pytest
from django import forms
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    SuspiciousOperation,
    TooManyFieldsSent,
    ValidationError,
)
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import Http404, HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.test import RequestFactory
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import translation
from django.utils.translation import gettext_lazy

from numflow_django import Context, FeatureRequest, StepError
from numflow_django.context import freeze, thaw
from numflow_django.exceptions import InvalidRequestData, ResponseAlreadySent
from numflow_django.request.http import (
    UNREAD,
    FeatureResponse,
    error_response,
    given,
    json_response,
    status_of,
    with_data,
)

FORM = "application/x-www-form-urlencoded"
FORM_METHODS = ["POST", "PUT", "PATCH", "DELETE"]


class OrderForm(forms.Form):
    sku = forms.CharField()


@pytest.fixture
def response():
    return FeatureResponse(RequestFactory().get("/"))


# The response parameter


def test_nothing_is_sent_at_first(response):
    """``response.sent`` is false until a step answers."""
    assert not response.sent
    assert response.http_response is None


@pytest.mark.parametrize(
    ("answer", "status", "kind", "content"),
    [
        (lambda response: response.json({"차": "녹차"}), 200, "application/json", '{"차": "녹차"}'),
        (lambda response: response.json([1], status=201), 201, "application/json", "[1]"),
        (lambda response: response.status(202).json("text"), 202, "application/json", '"text"'),
        (lambda response: response.status(202).json(None, status=203), 203, "application/json", "null"),
        (lambda response: response.send("안녕"), 200, "text/html; charset=utf-8", "안녕"),
        (lambda response: response.send(b"bytes", 418), 418, "text/html; charset=utf-8", "bytes"),
        (lambda response: response.status(404).send("no"), 404, "text/html; charset=utf-8", "no"),
        (lambda response: response.redirect("/there/"), 302, "text/html; charset=utf-8", ""),
        (lambda response: response.redirect("/there/", permanent=True), 301, "text/html; charset=utf-8", ""),
        (lambda response: response.status(303).redirect("/there/"), 303, "text/html; charset=utf-8", ""),
    ],
)
def test_each_method_answers(response, answer, status, kind, content):
    """Each method makes the answer, keeps it, says that it is sent, and returns it."""
    returned = answer(response)

    assert response.sent
    assert response.http_response is returned
    assert (returned.status_code, returned["Content-Type"], returned.content.decode()) == (status, kind, content)


@pytest.mark.parametrize("to", ["/admin/login/", "admin:login"])
def test_a_redirect_takes_a_url_or_a_views_name(response, to):
    """response.redirect() goes to a URL or to the URL of a view."""
    assert response.redirect(to)["Location"] == "/admin/login/"


@pytest.mark.parametrize(("options", "status"), [({}, 200), ({"status": 404}, 404)])
def test_render_answers_with_a_template(tmp_path, settings, options, status):
    """response.render() gives the template its data and the request."""
    (tmp_path / "shop.html").write_text("{{ item }} at {{ request.path }}")
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [tmp_path],
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ]
    response = FeatureResponse(RequestFactory().get("/shop/"))

    answer = response.render("shop.html", {"item": "녹차"}, **options)

    assert (answer.status_code, answer.content.decode()) == (status, "녹차 at /shop/")


def test_a_second_answer_is_refused(response):
    """Answering twice raises and keeps the first answer."""
    first = response.json({})

    with pytest.raises(ResponseAlreadySent, match="the step answers a second time; return after the first answer"):
        response.send("again")

    assert response.http_response is first


@pytest.mark.parametrize("status", [99, 600])
def test_a_status_that_is_none_is_refused(response, status):
    """A status outside 100 to 599 is Django's error, and nothing is sent."""
    with pytest.raises(ValueError, match="HTTP status code must be an integer from 100 to 599"):
        response.json({}, status=status)

    assert not response.sent


def test_json_holds_what_djangos_encoder_knows():
    """JSON answers take what Django's encoder takes: decimals, dates, lazy texts."""
    data = {"price": Decimal("1.50"), "day": date(2026, 1, 2), "name": gettext_lazy("name")}

    assert json.loads(json_response(data).content) == {"price": "1.50", "day": "2026-01-02", "name": "name"}


def test_json_escapes_only_what_utf8_cannot_hold():
    """Korean is written as it is; a lone surrogate, which UTF-8 cannot hold, as an escape."""
    assert json_response("녹차").content == '"녹차"'.encode()
    assert json_response("\ud83d").content == rb'"\ud83d"'


# request.data


def asked(body=b"", kind="application/json", method="POST", **headers):
    # CONTENT_TYPE: the factory leaves it out for an empty body, and a server does not
    return with_data(RequestFactory().generic(method, "/", body, content_type=kind, CONTENT_TYPE=kind, **headers))


@pytest.mark.parametrize(
    ("body", "data"),
    [
        ('{"item": "녹차"}'.encode(), {"item": "녹차"}),
        (b"[1, [2]]", [1, [2]]),
        (b"{}", {}),
        ('\ufeff{"a": 1}'.encode(), {"a": 1}),
        ('{"a": "가"}'.encode("utf-16"), {"a": "가"}),
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.api+json"])
def test_json_is_parsed(body, data, kind):
    """A JSON object or array is request.data, in any encoding that JSON knows."""
    assert asked(body, kind).data == data


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"{'a': 1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1", "expected an object or an array, not 1"),
        (b"null", "expected an object or an array, not null"),
        (b'"' + b"long" * 20 + b'"', 'expected an object or an array, not "' + "long" * 12 + "l"),
        (b"[" * 100_000, ""),
        (b"[" + b"1" * 5000 + b"]", f"the number {'1' * 50} is too large"),
    ],
    ids=["empty", "quotes", "bytes", "NaN", "Infinity", "number", "null", "long text", "deep", "long number"],
)
def test_what_is_no_json_is_the_clients_error(body, message):
    """A body that is no JSON object or array is a 400 that says what is wrong with it."""
    with pytest.raises(InvalidRequestData) as caught:
        asked(body).data  # noqa: B018

    assert caught.value.status == 400
    assert str(caught.value).startswith(f"invalid JSON: {message}")


@pytest.mark.parametrize("method", FORM_METHODS)
def test_a_form_is_parsed_whatever_the_method(method):
    """Form data is request.data for every method, though Django itself parses it for POST only."""
    data = asked("item=%EB%85%B9%EC%B0%A8&tag=1&tag=2", FORM, method).data

    assert isinstance(data, QueryDict)
    assert (data["item"], data.getlist("tag")) == ("녹차", ["1", "2"])


@pytest.mark.parametrize("read_before", [False, True], ids=["fresh", "read before"])
@pytest.mark.parametrize("method", FORM_METHODS)
def test_multipart_is_parsed_whatever_the_method(method, read_before):
    """A multipart form is request.data and its files request.FILES, also if a middleware has read the body before."""
    body = encode_multipart(BOUNDARY, {"item": "녹차", "photo": SimpleUploadedFile("tea.png", b"png")})
    request = asked(body, MULTIPART_CONTENT, method)
    if read_before:
        request.body  # noqa: B018

    data = request.data

    assert data["item"] == request.POST["item"] == "녹차"
    assert request.FILES["photo"].read() == b"png"


@pytest.mark.parametrize("method", FORM_METHODS)
def test_a_multipart_form_that_cannot_be_read_is_the_clients_error(method):
    """A multipart body without a boundary is a 400."""
    with pytest.raises(InvalidRequestData, match="invalid form data: Invalid boundary in multipart: None") as caught:
        asked(b"--", "multipart/form-data", method).data  # noqa: B018

    assert caught.value.status == 400


@pytest.mark.parametrize("kind", ["text/csv", "", "application/octet-stream"])
def test_another_content_type_is_refused(kind):
    """A body of an unknown type is a 415 that names the type and the known ones."""
    with pytest.raises(InvalidRequestData) as caught:
        asked(b"a,b", kind).data  # noqa: B018

    assert caught.value.status == 415
    assert str(caught.value) == f"unsupported content type {kind!r}: send application/json or a form"


@pytest.mark.parametrize("kind", ["text/plain", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_body_is_no_data(method, kind):
    """A request without a body, of no particular type, has empty data."""
    assert asked(b"", kind, method).data == QueryDict()


def test_the_body_is_parsed_once_and_only_when_it_is_used(monkeypatch):
    """request.data is parsed on first use and kept: steps may change it."""
    bodies = []
    monkeypatch.setattr("numflow_django.request.body.json.loads", lambda text, **options: bodies.append(text) or {})
    request = asked(b"{}")
    before = list(bodies)

    same = request.data is request.data

    assert (before, bodies, same) == ([], ["{}"], True)


def test_the_request_stays_the_same_object_of_the_same_kind():
    """Giving a request its data changes neither its identity nor what it is an instance of."""
    request = RequestFactory().get("/")

    given = with_data(with_data(request))

    assert given is request
    assert isinstance(given, HttpRequest)
    assert type(given).__name__ == "WSGIRequest"


def test_a_request_that_has_data_keeps_it():
    """A request whose class has ``data``, as Django REST Framework's, keeps it; so does one that was given some."""

    class Rest(HttpRequest):
        data = "theirs"

    given = RequestFactory().get("/")
    given.data = "a middleware's"

    assert with_data(Rest()).data == "theirs"
    assert with_data(given).data == "a middleware's"


@pytest.mark.parametrize(
    "take",
    [
        lambda data: data.get("sku"),
        lambda data: data["sku"],
        lambda data: data.getlist("sku"),
        lambda data: data.items(),
        lambda data: OrderForm(data).is_valid(),
    ],
)
def test_an_array_taken_for_an_object_is_the_clients_error(take):
    """A step that expects an object, and was sent an array, fails with a 400 that says so."""
    with pytest.raises(InvalidRequestData, match=r"^invalid JSON: expected an object, not an array$") as caught:
        take(asked(b"[1]").data)

    assert caught.value.status == 400
    assert error_response(caught.value, STEP).status_code == 400


def test_an_array_is_a_list():
    """Code that checks the type of an array finds a list."""
    data = asked(b'[1, {"a": 2}]').data

    assert isinstance(data, list)
    assert (data[0], data[1]["a"], data[:1], [*data], len(data)) == (1, 2, [1], [1, {"a": 2}], 2)
    assert not hasattr(data, "get")
    assert getattr(data, "getlist", None) is None
    assert json.dumps(data) == '[1, {"a": 2}]'
    with pytest.raises(AttributeError, match="'JsonArray' object has no attribute 'frist'"):
        data.frist  # noqa: B018


def test_an_array_travels_to_the_tasks():
    """An array that a step stores is a list to the async tasks."""
    ctx = Context(items=asked(b"[1, [2]]").data)

    assert thaw(freeze(ctx), run_id=ctx.run_id).items == [1, [2]]


def test_a_request_is_a_feature_request():
    """What a step is given is a FeatureRequest, with the route's parameters."""
    request = with_data(RequestFactory().get("/"), {"order_id": 3})

    assert isinstance(request, FeatureRequest)
    assert request.params == {"order_id": 3}


@pytest.mark.parametrize("twin", [copy.copy, lambda request: pickle.loads(pickle.dumps(request))])
def test_a_request_can_be_copied_and_pickled(twin):
    """A request with data can be copied and pickled, as Django's can."""
    request = asked(b'{"a": 1}')
    request.data  # noqa: B018

    other = twin(request)

    assert isinstance(other, FeatureRequest)
    assert type(other) is type(request)
    assert (other.data, other.method) == ({"a": 1}, "POST")


@pytest.mark.parametrize(
    ("request_of", "expected"),
    [
        (lambda: asked(b'{"a": 1}'), UNREAD),
        (lambda: read(asked(b'{"a": 1}'), lambda request: request.data.clear()), {"a": 1}),
        (lambda: read(asked(b'{"a": 1'), lambda request: request.body), '{"a": 1'),
        (lambda: read(asked(b"a=1", FORM), lambda request: request.POST), QueryDict("a=1")),
        (lambda: read(asked(b"a=1", FORM, "PUT"), lambda request: request.data), QueryDict("a=1")),
        (lambda: read(asked(b"a=1", FORM, "PUT"), lambda request: request.body), UNREAD),
    ],
    ids=["unread", "changed", "invalid", "form", "data", "no data"],
)
def test_what_was_given_is_known_once_it_was_read(request_of, expected):
    """given() returns the body as it came, if some code has read it, and never reads it."""
    request = request_of()
    before = set(vars(request))

    assert given(request) == expected
    assert set(vars(request)) == before


def read(request, how):
    how(request)
    return request


# Answers for errors


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"[1]", "application/json", "JSON이 올바르지 않습니다: 배열이 아니라 객체여야 합니다"),
        (b"1", "application/json", "JSON이 올바르지 않습니다: 1이(가) 아니라 객체나 배열이어야 합니다"),
        (b"{", "application/json", "JSON이 올바르지 않습니다: Expecting property name"),
        (b"--", "multipart/form-data", "폼 데이터가 올바르지 않습니다: Invalid boundary"),
        (b"a", "text/csv", "지원하지 않는 콘텐츠 유형입니다('text/csv'): application/json이나 폼만 받습니다"),
    ],
)
def test_what_the_client_reads_is_in_its_language(body, kind, message):
    """The messages of refused bodies are translated."""
    with translation.override("ko"), pytest.raises(InvalidRequestData) as caught:
        asked(body, kind).data.get("a")

    assert str(caught.value).startswith(message)


def test_a_validation_error_is_in_the_clients_language():
    """The message that stands over several errors is translated."""
    with translation.override("ko"):
        answer = error_response(ValidationError({"price": "no"}), None)

    assert json.loads(answer.content)["error"]["message"] == "입력값이 올바르지 않습니다"


STEP = {"number": 200, "name": "pay", "ms": 1.5, "error": "StepError: no"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StepError("no"), {"message": "no", "status": 400}),
        (StepError("no", 409, "sold_out"), {"message": "no", "status": 409, "code": "sold_out"}),
        (StepError("no", details=0), {"message": "no", "status": 400, "details": 0}),
        (StepError(gettext_lazy("no")), {"message": "no", "status": 400}),
        (ValidationError("no %(n)s", params={"n": 3}), {"message": "no 3", "status": 400}),
        (ValidationError("no", code="min"), {"message": "no", "status": 400, "code": "min"}),
        (ValidationError(["no"]), {"message": "no", "status": 400}),
        (ValidationError([]), {"message": "validation failed", "status": 400, "code": "invalid", "details": []}),
        (
            ValidationError({"price": ValidationError("no %(n)s", params={"n": 3})}),
            {"message": "validation failed", "status": 400, "code": "invalid", "details": {"price": ["no 3"]}},
        ),
    ],
)
def test_errors_for_the_client_have_one_form(error, expected):
    """StepError and ValidationError become {"error": {"message", "status", "code"?, "details"?, "step"?}}."""
    named = error_response(error, STEP)
    nameless = error_response(error, None)

    assert json.loads(named.content) == {"error": expected | {"step": {"number": 200, "name": "pay"}}}
    assert json.loads(nameless.content) == {"error": expected}
    assert named.status_code == expected["status"]


def test_a_body_that_cannot_be_read_blames_no_step():
    """An InvalidRequestData is answered without a step: the client's body is to blame."""
    answer = error_response(InvalidRequestData("invalid JSON: no"), STEP)

    assert answer.content == b'{"error": {"message": "invalid JSON: no", "status": 400}}'


@pytest.mark.parametrize("error", [OSError("away"), Http404("gone"), PermissionDenied("no")])
def test_other_errors_have_no_answer_here(error):
    """Every other error is Django's to answer."""
    assert error_response(error, STEP) is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StepError("no", status=418), 418),
        (InvalidRequestData("no", status=415), 415),
        (ValidationError("no"), 400),
        (Http404(), 404),
        (PermissionDenied(), 403),
        (SuspiciousOperation(), 400),
        (TooManyFieldsSent(), 400),
        (BadRequest(), 400),
        (MultiPartParserError(), 400),
        (OSError(), 500),
    ],
    ids=repr,
)
def test_the_status_that_an_error_stands_for(error, status):
    """An error stands for the status that its answer will have: the client's mistake, or ours."""
    assert status_of(error) == status
