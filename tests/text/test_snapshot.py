"""Snapshots of values are compared and shown without running the values' own code."""

import enum
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import QueryDict
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from numflow_django.context.json_data import JsonArray
from numflow_django.text.snapshot import MAX_PARTS, show, snapshot_of
from tests.market.models import Sale


class Colour(enum.StrEnum):
    RED = "red"


class Loud:
    """A value whose own code fails the test."""

    def __repr__(self):
        raise AssertionError

    __eq__ = __hash__ = __str__ = __len__ = __iter__ = __getattr__ = __repr__


class LoudText(str):
    __slots__ = ()

    def __str__(self):
        raise AssertionError

    __repr__ = __str__


class LoudDict(dict):
    def items(self):
        raise AssertionError

    __iter__ = __len__ = __repr__ = items


@dataclass
class Line:
    sku: str
    token: str = "abc"
    notes: list = field(default_factory=list)


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (3, "3"),
        (2**1000, hex(2**1000)),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        ("녹차", "'녹차'"),
        (LoudText("loud"), "'loud'"),
        ("a\nb\x1b[31m", r"'a\nb\x1b[31m'"),
        ("\ud83d", "'?'"),
        (b"abc", "<3 bytes>"),
        (Decimal("1.50"), "Decimal('1.50')"),
        (Decimal("sNaN"), "Decimal('sNaN')"),
        (date(2026, 1, 2), "datetime.date(2026, 1, 2)"),
        (datetime(2026, 1, 2, tzinfo=UTC), "datetime.datetime(2026, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)"),
        (Colour.RED, "Colour.RED"),
        ([1, [2]], "[1, [2]]"),
        (JsonArray([1]), "[1]"),
        ((1, 2), "(1, 2)"),
        (Point(1, 2), "(1, 2)"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (frozenset({"a"}), "{'a'}"),
        ({"a": 1, 2: "b", Point(1, 2): None}, "{'a': 1, '2': 'b', '<Point>': None}"),
        (OrderedDict(a=1), "{'a': 1}"),
        (LoudDict(a=1), "{'a': 1}"),
        (QueryDict("a=1&tag=2&tag=3"), "{'a': '1', 'tag': ['2', '3']}"),
        (Line("A-1"), "Line(sku='A-1', token=********, notes=[])"),
        (Loud(), "<Loud>"),
        ([Loud()], "[<Loud>]"),
        (Sale, "<ModelBase>"),
        (SimpleUploadedFile("tea.png", b"png"), "<SimpleUploadedFile 'tea.png'>"),
        (gettext_lazy("state"), "<__proxy__>"),
        (list(range(30)), "[" + ", ".join(map(str, range(20))) + ", ... 10 more]"),
    ],
    ids=lambda value: value[:30] if type(value) is str else type(value).__name__,  # and not the repr of Loud
)
def test_a_value_is_shown_in_a_line(value, text):
    """A built-in value is shown as its type shows it. The code of other classes is not run."""
    assert show(snapshot_of(value)) == text


def test_a_model_instance_is_shown_by_the_fields_that_it_holds(db, django_assert_num_queries):
    """A model instance shows its loaded fields; a deferred field, a query set and a lazy object are not read."""
    Sale.objects.create(item="tea", quantity=2)
    sale = Sale.objects.defer("item").get()

    with django_assert_num_queries(0):
        shown = [show(snapshot_of(value)) for value in (sale, Sale.objects.all(), SimpleLazyObject(Sale.objects.get))]

    assert shown == [f"Sale(id={sale.pk}, quantity=2)", "<QuerySet of Sale>", "<lazy, not used yet>"]


def test_a_lazy_object_that_was_used_is_shown():
    """A lazy object that has loaded its object is shown as that object."""
    lazy = SimpleLazyObject(lambda: [1])
    len(lazy)

    assert show(snapshot_of(lazy)) == "[1]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"password": "x", "user": {"api-key": "y"}}, "{'password': ********, 'user': {'api-key': ********}}"),
        ("password=hunter2 in a text", "'password=******** in a text'"),
        ("redis://user:hunter2@host/0", "'redis://user:********@host/0'"),
        (QueryDict("비밀번호=x"), "{'비밀번호': ********}"),
    ],
)
def test_secrets_are_masked(value, text):
    """The value of a secret key, and the text after a secret word, are masked at any depth."""
    assert show(snapshot_of(value)) == text


def test_the_value_of_a_secret_key_is_masked():
    """The whole value is masked if its own key is secret."""
    assert show(snapshot_of("hunter2"), "password") == "********"
    assert show(snapshot_of("tea"), "item") == "'tea'"


@pytest.mark.parametrize("value", ["long " * 10_000, ["x" * 100] * 10_000, {str(n): "x" * 100 for n in range(10_000)}])
def test_what_is_long_is_capped(value):
    """A value of any size is shown as one short line."""
    assert len(show(snapshot_of(value))) <= 404


def test_a_cycle_and_a_depth_end():
    """A list that contains itself, and a deeply nested one, are shown up to that place."""
    cycle = [1]
    cycle.append(cycle)
    deep = []
    for _ in range(5_000):
        deep = [deep]

    assert show(snapshot_of(cycle)) == "[1, [... 2 more]]"
    assert show(snapshot_of(deep)).startswith("[[[[[")


def test_a_value_that_breaks_its_snapshot_is_named():
    """A value whose snapshot fails is shown as its type and the error."""
    lazy = SimpleLazyObject(list)
    del lazy.__dict__["_wrapped"]

    assert show(snapshot_of(lazy)) == "<SimpleLazyObject, which cannot be shown: KeyError>"


def changed(value, change):
    before = snapshot_of(value)
    change(value)
    return before != snapshot_of(value)


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1], lambda value: value.append(2)),
        ([1], lambda value: value.__setitem__(0, True)),
        ({"a": {"b": [1]}}, lambda value: value["a"]["b"].append(2)),
        ({1, 2}, lambda value: value.add(3)),
        (Line("A-1"), lambda value: value.notes.append("new")),
        (Sale(item="tea"), lambda value: setattr(value, "item", "coffee")),
        ([0] * 5 * MAX_PARTS, lambda value: value.append(0)),
        ([Loud()], lambda value: value.__setitem__(0, Loud())),
    ],
    ids=["append", "1 is not True", "deep", "set", "dataclass", "model", "long", "object"],
)
def test_a_change_in_place_is_seen(value, change):
    """Snapshots before and after a change in place are different."""
    assert changed(value, change)


@pytest.mark.parametrize(
    "value", [[float("nan")], [Decimal("sNaN"), Loud()], {"b", "a", "c"}, Sale(item="tea"), LoudDict(a=[LoudText("b")])]
)
def test_no_change_is_no_change(value):
    """Two snapshots of an unchanged value are equal, whatever its own == returns."""
    assert not changed(value, lambda value: None)


def test_an_equal_set_is_the_same():
    """A set that was built again in another order is unchanged."""
    numbers = [*range(0, 4_000, 100)]
    backwards = sorted(numbers, reverse=True)

    assert list(set(numbers)) != list(set(backwards))
    assert snapshot_of(set(numbers)) == snapshot_of(set(backwards))
