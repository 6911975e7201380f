"""A JSON object in request.data is a dict, and its KeyError is the client's mistake."""

import copy
import json
import pickle

import pytest
from django import forms
from django.template import engines
from django.utils import translation
from django.utils.datastructures import MultiValueDictKeyError

from numflow_django import Context
from numflow_django.context.context import freeze, thaw
from numflow_django.context.json_data import JsonObject
from numflow_django.exceptions import MissingKey

DATA = {"sku": "A-1", "lines": [{"n": 1}, [2, [3]]], "customer": {"name": "Kim"}}


class OrderForm(forms.Form):
    sku = forms.CharField()


@pytest.fixture
def data():
    return json.loads(json.dumps(DATA), object_pairs_hook=JsonObject)


@pytest.mark.parametrize(
    ("take", "key"),
    [
        (lambda data: data["price"], "'price'"),
        (lambda data: data["customer"]["price"], "'price'"),
        (lambda data: data["lines"][0]["price"], "'price'"),
        (lambda data: data.pop("price"), "'price'"),
        (lambda data: data.copy()["price"], "'price'"),
        ("{price}".format_map, "'price'"),
        (lambda data: data[0], "0"),
    ],
    ids=["key", "nested", "in a list", "pop", "copy", "format", "index"],
)
def test_a_missing_key_is_the_clients_error(data, take, key):
    """A missing key is a 400 that names it, at any depth, and a KeyError for code that catches it."""
    with pytest.raises(MissingKey) as caught:
        take(data)

    assert str(caught.value) == caught.value.message == f"missing key {key}"
    assert caught.value.status == 400
    assert isinstance(caught.value, KeyError | MultiValueDictKeyError)


def test_a_missing_key_that_is_to_be_deleted(data):
    """``del`` of a missing key raises the same error; ``del`` of an existing key deletes it."""
    del data["sku"]

    with pytest.raises(MissingKey, match=r"^missing key 'sku'$"):
        del data["sku"]


def test_a_missing_key_is_named_in_the_clients_language(data):
    """The message is translated."""
    with translation.override("ko"), pytest.raises(MissingKey, match=r"^'price' 키가 없습니다$"):
        data["price"]


def test_an_object_is_a_dict(data):
    """An object works like a dict: equality, JSON, copies, pickle, defaults, forms, templates."""
    assert data == DATA
    assert isinstance(data, dict)
    assert repr(data) == repr(DATA)
    assert json.loads(json.dumps(data)) == {**data} == dict(data) == DATA
    for twin in (copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data)), data.copy()):
        assert twin == DATA
        assert type(twin) is JsonObject
        assert twin is not data
    assert (data.get("price"), data.get("price", 3), data.pop("price", 4), "price" in data) == (None, 3, 4, False)
    assert (data.setdefault("price", 5), data.pop("price")) == (5, 5)
    assert OrderForm(data).is_valid()
    assert OrderForm(data["customer"]).errors == {"sku": ["This field is required."]}
    text = engines["django"].from_string(
        "{{ data.sku }}|{{ data.price }}|{% for pair in data.customer.items %}{{ pair.0 }}{% endfor %}"
    )
    assert text.render({"data": data}) == "A-1||name"


def test_a_key_error_can_be_caught(data):
    """Code that catches the KeyError of a dict or a form catches it."""
    for expected in (KeyError, MultiValueDictKeyError, LookupError):
        with pytest.raises(expected):
            data["price"]


def test_an_array_inside_is_a_plain_list(data):
    """An array inside an object is a plain list: mysqlclient takes no subclass for IN %s."""
    assert {type(data["lines"]), type(data["lines"][1]), type(data["lines"][1][1])} == {list}


def test_the_last_of_two_equal_keys_counts():
    """If an object has a key twice, it has the last value, as with json."""
    assert json.loads('{"a": [1], "a": 2}', object_pairs_hook=JsonObject) == {"a": 2}


def test_an_object_travels_to_the_tasks_as_a_dict(data):
    """The tasks get plain dicts and lists of what a step stored from request.data."""
    ctx = Context(order=data)

    order = thaw(freeze(ctx), run_id=ctx.run_id).order

    assert order == DATA
    assert {type(order), type(order["customer"]), type(order["lines"])} == {dict, list}
