"""The body as request.data: what no context or no database could hold is refused as the client's mistake."""

import copy
import json
import pickle

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.test import RequestFactory
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import translation

from numflow_django import Context
from numflow_django.context import freeze, thaw
from numflow_django.context.codec import MAX_DEPTH, MAX_INT_BITS
from numflow_django.exceptions import InvalidRequestData, MissingKey
from numflow_django.request.body import FormData, checked
from numflow_django.request.http import with_data

FORM = "application/x-www-form-urlencoded"

NUL = "a text holds a NUL character"
SURROGATE = "a text holds a lone surrogate"


def sent(body, kind="application/json", method="POST"):
    """The request.data of a request with this body."""
    return with_data(RequestFactory().generic(method, "/", body, content_type=kind)).data


def nested(levels, inner="1"):
    return f'{{"a": {"[" * (levels - 1)}{inner}{"]" * (levels - 1)}}}'


def refusal(body, kind="application/json", method="POST"):
    with pytest.raises(InvalidRequestData) as caught:
        sent(body, kind, method)
    assert caught.value.status == 400
    return str(caught.value)


def refused_json(body):
    message = refusal(body)
    assert message.startswith("invalid JSON: ")
    return message.removeprefix("invalid JSON: ")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": [-1E+400]}', "the number -1E+400 is too large"),
        (f'{{"a": {"9" * 400}.5}}', f"the number {'9' * 50} is too large"),
        (f'{{"a": {"9" * 4250}}}', f"the number {'9' * 50} is too large"),
        (f'{{"a": {"9" * 5000}}}', f"the number {'9' * 50} is too large"),
        (r'{"a": "\u0000"}', NUL),
        (r'{"a": [{"\u0000": 1}]}', NUL),
        (r'{"a": "\\\u0000"}', NUL),
        (r'["\u0000"]', NUL),
        (r'{"a": "\ud800"}', SURROGATE),
        (r'{"a": "\uDFFF\ud83d"}', SURROGATE),
        (r'{"\ud800": 1}', SURROGATE),
        ('{"a": "\ud800"}'.encode("utf-8", "surrogatepass"), "'utf-8' codec can't decode byte 0xed"),
        ('{"a": "\ud800"}'.encode("utf-16", "surrogatepass"), "'utf-16-le' codec can't decode bytes in"),
        (r'{"a": "\u0000"}'.encode("utf-16"), NUL),
        (nested(MAX_DEPTH + 1), f"it is nested deeper than {MAX_DEPTH} levels"),
        (nested(MAX_DEPTH, "{}"), f"it is nested deeper than {MAX_DEPTH} levels"),
        (nested(900), f"it is nested deeper than {MAX_DEPTH} levels"),
    ],
    ids=lambda value: "" if len(value) > 60 else None,
)
def test_json_that_could_not_be_stored_is_the_clients_error(body, problem):
    """A number, a text, a key or a depth that no context or no database holds is a 400 that says which."""
    assert refused_json(body).startswith(problem)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1e308, "b": -1e-999, "c": "1e999"}',
        f'{{"a": {2**MAX_INT_BITS - 1}}}',
        r'{"a": "\\u0000", "b": "\\ud800"}',
        r'{"a": "\ud83d\ude00", "\ud55c\uae00": "\ud7a3"}',
        nested(MAX_DEPTH),
        json.dumps({"text": "[{" * 200, "lines": [{"n": [n]} for n in range(200)]}),
    ],
    ids=["floats", "int", "escaped backslash", "pairs and Korean", "deep", "wide"],
)
def test_json_that_comes_near_is_taken_and_travels(body):
    """What only looks like it, and the largest that a context holds, is request.data and comes to the tasks."""
    data = sent(body)
    ctx = Context()
    for key, value in data.items():
        ctx[key] = value

    assert data == json.loads(body)
    assert dict(thaw(freeze(ctx), run_id=ctx.run_id)) == data


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("fields", ["sku=a%00b", "a=1&tag=2&tag=%00", "s%00ku=1"])
def test_a_nul_in_a_form_is_the_clients_error(fields, method):
    """A NUL in form data, in a field's name too, is a 400."""
    assert refusal(fields, FORM, method) == f"invalid form data: {NUL}"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_nul_in_a_multipart_form_is_the_clients_error(method):
    """A NUL in a field of a multipart form is a 400; one in an uploaded file is data."""
    photo = SimpleUploadedFile("tea.png", b"\0")

    good = sent(encode_multipart(BOUNDARY, {"sku": "A", "photo": photo}), MULTIPART_CONTENT, method)

    assert good["sku"] == "A"
    photo.seek(0)
    bad = encode_multipart(BOUNDARY, {"sku": "\0", "photo": photo})
    assert refusal(bad, MULTIPART_CONTENT, method) == f"invalid form data: {NUL}"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_field_that_was_not_sent_is_the_clients_error(method):
    """A form's missing field is a 400 that names it; request.POST is Django's own."""
    request = with_data(RequestFactory().generic(method, "/", "a=1", content_type=FORM))

    with pytest.raises(MissingKey, match=r"^missing key 'sku'$"):
        request.data["sku"]

    assert type(request.POST) is QueryDict
    assert (request.data.get("sku"), request.data.getlist("sku"), "sku" in request.data) == (None, [], False)


def test_a_request_without_a_body_misses_every_key():
    """The data of an empty request is a form without fields."""
    with pytest.raises(MissingKey):
        sent("", "text/plain")["sku"]


def test_form_data_is_a_query_dict():
    """Form data is what request.POST is: immutable, with lists, with an encoding; copies can be changed."""
    data = sent("a=1&a=2&b=%EB%85%B9", FORM)

    assert data == QueryDict("a=1&a=2&b=%EB%85%B9")
    assert (data["a"], data.getlist("a"), data["b"], data.urlencode()) == ("2", ["1", "2"], "녹", "a=1&a=2&b=%EB%85%B9")
    with pytest.raises(AttributeError, match="This QueryDict instance is immutable"):
        data["a"] = 3
    for twin in (copy.copy(data), data.copy(), pickle.loads(pickle.dumps(data))):
        assert type(twin) is FormData
        assert twin == data
    changed = data.copy()
    changed["a"] = "3"
    assert (changed["a"], data["a"]) == ("3", "2")


def test_parameters_of_the_route_are_checked():
    """A NUL in a parameter that is text is a 400 that names it; other parameters are as the converters made them."""
    params = {"order_id": 3, "sku": "A-1"}

    with pytest.raises(InvalidRequestData) as caught:
        checked({**params, "name": "a\0"})

    assert (str(caught.value), caught.value.status) == (f"invalid parameter 'name' in the URL: {NUL}", 400)
    assert checked(params) == params


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ('{"a": 1e999}', "application/json", "JSON이 올바르지 않습니다: 숫자 1e999이(가) 너무 큽니다"),
        (r'{"a": "\u0000"}', "application/json", "JSON이 올바르지 않습니다: 텍스트에 NUL 문자가 있습니다"),
        (
            r'{"a": "\ud800"}',
            "application/json",
            "JSON이 올바르지 않습니다: 텍스트에 짝이 없는 서로게이트 문자가 있습니다",
        ),
        (nested(101), "application/json", "JSON이 올바르지 않습니다: 100단계보다 깊게 중첩되어 있습니다"),
        ("a=%00", FORM, "폼 데이터가 올바르지 않습니다: 텍스트에 NUL 문자가 있습니다"),
    ],
)
def test_what_was_refused_is_shown_in_the_clients_language(body, kind, message):
    """The messages of refused data are translated."""
    with translation.override("ko"):
        assert refusal(body, kind) == message


def test_a_parameter_that_was_refused_is_shown_in_the_clients_language():
    """The message of a refused parameter is translated."""
    with translation.override("ko"), pytest.raises(InvalidRequestData) as caught:
        checked({"sku": "\0"})

    assert str(caught.value) == "URL의 매개변수 'sku'이(가) 올바르지 않습니다: 텍스트에 NUL 문자가 있습니다"
