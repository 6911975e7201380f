"""Values become tagged JSON and come back equal and of the same type."""

import enum
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db.models import TextChoices
from django.utils.functional import SimpleLazyObject, lazy
from django.utils.html import conditional_escape
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy, override
from hypothesis import given, settings
from hypothesis import strategies as st

from numflow_django.context import codec

BERLIN = ZoneInfo("Europe/Berlin")
SEOUL = ZoneInfo("Asia/Seoul")


class Colour(enum.Enum):
    RED = (255, 0, 0)
    BLUE = (0, 0, 255)


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Status(TextChoices):
    OPEN = "o", gettext_lazy("open")
    PAID = "p", gettext_lazy("paid")


@dataclass
class Line:
    item: str
    price: Decimal
    tags: set = field(default_factory=set)


T = TypeVar("T")


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass(frozen=True)
class Frozen:
    line: Line


@dataclass(slots=True)
class Slotted:
    x: int
    y: "Slotted | None" = None


@dataclass
class Total:
    amount: int
    tax: int = field(init=False)
    rounded: int = field(init=False)

    def __post_init__(self):
        self.tax = self.amount // 10
        self.note = "tax included"

    @cached_property
    def costly(self):
        return object()


def round_trip(value):
    return codec.decode(json.loads(json.dumps(codec.encode(value, "ctx.value"))), "ctx.value")


def shape(value):
    """Return *value* with all types visible, so that True differs from 1, and a tuple from a list."""
    if isinstance(value, dict):
        return [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    if isinstance(value, set):
        return set, sorted((shape(item) for item in value), key=repr)
    return type(value), value


PLAIN = [
    "",
    "주문 확인 📦",
    "a\x00b",
    "  ",
    0,
    -(2**70),
    True,
    False,
    None,
    1.5,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    [],
    [1, [2, [3]]],
    {},
    {"a": {"b": [1]}},
    {"": 1, "$": 2},
    {"$": "model", "m": "auth.User", "pk": 1, "db": "default"},
    {"$": {"$": [{"$": "tuple", "v": []}]}},
    (),
    (1,),
    ((1, "a"), [2]),
    set(),
    {1, "a", (2, 3), None},
    b"",
    b"\x00\xff",
    date(2026, 2, 28),
    time(23, 59, 59, 999999),
    time(9, 30, tzinfo=UTC),
    time(9, 30, tzinfo=SEOUL),
    timedelta(days=-1, microseconds=1),
    timedelta.max,
    Decimal("1.10"),
    Decimal("-0"),
    Decimal("1E+1000"),
    Decimal("Infinity"),
    UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    Colour.BLUE,
    Size.LARGE,
    Right.READ,
    Right.READ | Right.WRITE,
    Right(0),
    Status.PAID,
    Line("mug", Decimal("9.90"), {"a", "b"}),
    Frozen(Line("mug", Decimal(9))),
    Slotted(1, Slotted(2)),
    [Colour.RED, {"x": (Slotted(1),)}],
    Page([1]),
    mark_safe("<b>"),
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:40])
def test_a_value_comes_back_equal_and_of_the_same_type(value):
    """Each type that can be stored comes back equal and of the same type."""
    thawed = round_trip(value)

    assert thawed == value
    assert shape(thawed) == shape(value)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 1, 12, 0, 0, 1),  # noqa: DTZ001 - naive datetimes travel too
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=9, minutes=30))),
        datetime(2026, 1, 1, tzinfo=SEOUL),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=0),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),  # an hour that this zone skips
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(1, 1, 1, tzinfo=SEOUL),  # has no counterpart in UTC
        datetime(9999, 12, 31, 23, 59, tzinfo=ZoneInfo("America/New_York")),
        datetime(1900, 1, 1, tzinfo=SEOUL),  # local mean time, with seconds in its offset
    ],
    ids=str,
)
def test_a_datetime_comes_back_as_the_same_instant_in_the_same_zone(value):
    """A datetime keeps its fields, offset and zone, also in the hour that occurs twice in autumn."""
    thawed = round_trip(value)

    assert thawed == value
    assert (thawed.tzinfo, thawed.utcoffset(), thawed.fold) == (value.tzinfo, value.utcoffset(), value.fold)


def test_a_fixed_order_of_sets():
    """Equal sets are stored as the same text, whatever the order in which they were filled."""
    forwards, backwards = {0, 8}, {8, 0}
    assert list(forwards) != list(backwards)

    assert codec.encode(forwards, "x") == codec.encode(backwards, "x")


def test_fields_that_init_does_not_know():
    """
    A dataclass keeps what __post_init__ set, as a field or not. An unset field stays unset, and caches are left out.
    """
    total = Total(100)
    assert total.costly

    thawed = round_trip(total)

    assert (thawed.amount, thawed.tax, thawed.note) == (100, 10, "tax included")
    assert not hasattr(thawed, "rounded")
    assert "costly" not in vars(thawed)


def test_a_dataclass_is_put_back_without_its_init():
    """Loading calls neither __init__ nor __post_init__, which would compute changed values again."""
    total = Total(100)
    total.tax = 7

    assert round_trip(total).tax == 7


def test_a_lazy_string_becomes_the_text_of_the_request_s_language():
    """A lazy translation is stored as a str in the language of the request."""
    with override("de"):
        thawed = round_trip({"title": gettext_lazy("January")})

    assert shape(thawed) == [((str, "title"), (str, "Januar"))]


@pytest.mark.parametrize(
    ("value", "plain"),
    [(SimpleLazyObject(lambda: [1]), [1]), (SimpleLazyObject(lambda: None), None)],
    ids=["lazy list", "lazy None"],
)
def test_what_stands_for_a_plain_value_becomes_that(value, plain):
    """A lazy object is stored as its plain value."""
    assert shape(round_trip(value)) == shape(plain)


def test_a_safe_string_is_not_escaped_in_a_task():
    """A text that a step marked as safe, even a lazy one, is safe in a template of a task."""
    safe = lazy(mark_safe, str)("<b>")

    assert [conditional_escape(text) for text in round_trip([mark_safe("<b>"), safe, "<b>"])] == [
        "<b>",
        "<b>",
        "&lt;b&gt;",
    ]


KEYS = st.text(max_size=5) | st.sampled_from(["$", "v", "m"])
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones())
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.sampled_from([*Colour, *Size, *Status, *Right])
)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Line, st.text(), inner)
        | st.builds(Slotted, inner, inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES)
def test_any_nested_value_comes_back(value):
    """Values of any type and nesting come back equal and of the same type."""
    thawed = round_trip(value)

    assert thawed == value
    assert shape(thawed) == shape(value)
