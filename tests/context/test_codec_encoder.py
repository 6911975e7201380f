"""A value that cannot be stored is refused; the message says where and what it is, and what to store instead."""

import dataclasses
import enum
import io
import socket
import tempfile
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse, QueryDict
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString

from numflow_django.context.codec import encode
from numflow_django.context.codec.encoder import MAX_DEPTH
from numflow_django.exceptions import ContextValueError
from tests.market.models import Sale

Point = namedtuple("Point", "x y")

GENERAL = "store plain values, a model instance or a dataclass"


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Order:
    lines: list = dataclasses.field(default_factory=list)


T = TypeVar("T")


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


@dataclasses.dataclass
class Refused(Exception):
    reason: str


def refusal(value):
    """Return the message of the refusal of *value*."""
    with pytest.raises(ContextValueError) as caught:
        encode(value, "ctx.x")
    return str(caught.value)


def cannot_travel(name, advice):
    article = "an" if name[0] in "aeiou" else "a"
    return f"ctx.x is {article} {name}, which cannot be stored for the async tasks; {advice}"


@pytest.mark.parametrize(
    ("value", "name", "advice"),
    [
        (
            RequestFactory().get("/"),
            "django.core.handlers.wsgi.WSGIRequest",
            "copy what you need of it, or keep it under a key that starts with _",
        ),
        (QueryDict("a=1"), "django.http.request.QueryDict", "store value.dict()"),
        (Sale.objects.all(), "django.db.models.query.QuerySet", "store list(queryset) or the keys"),
        (Sale.objects.values("pk"), "django.db.models.query.QuerySet", "store list(queryset) or the keys"),
        (
            AnonymousUser(),
            "django.contrib.auth.models.AnonymousUser",
            "store it only when user.is_authenticated",
        ),
        (ContentFile(b""), "django.core.files.base.ContentFile", "save it and store its name"),
        (
            SimpleUploadedFile("a.png", b""),
            "django.core.files.uploadedfile.SimpleUploadedFile",
            "save it and store its name",
        ),
        (io.BytesIO(), "_io.BytesIO", "save it and store its name"),
        (Refused("no"), f"{__name__}.Refused", "store str(error)"),
        (ValueError("no"), "ValueError", "store str(error)"),
        (OrderedDict(a=1), "collections.OrderedDict", "store dict(value)"),
        (defaultdict(list), "collections.defaultdict", "store dict(value)"),
        (Counter("a"), "collections.Counter", "store dict(value)"),
        (Point(1, 2), f"{__name__}.Point", "store tuple(value) or a dataclass"),
        (deque(), "collections.deque", "store list(value)"),
        (frozenset({1}), "frozenset", "store set(value)"),
        (bytearray(b"a"), "bytearray", "store bytes(value)"),
        ({}.keys(), "dict_keys", "store list(value)"),
        ((number for number in ()), "generator", "store list(value)"),
        (range(3), "range", "store list(value)"),
        (UserDict(), "collections.UserDict", GENERAL),
        (MappingProxyType({}), "mappingproxy", GENERAL),
        (HttpResponse(), "django.http.response.HttpResponse", GENERAL),
        (1j, "complex", GENERAL),
        (len, "builtin_function_or_method", GENERAL),
        (Sale, "django.db.models.base.ModelBase", GENERAL),
        (object(), "object", GENERAL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_without_a_form_in_json_is_refused(value, name, advice):
    """D6: A value that cannot be stored is refused with its place, its type and what to store instead."""
    assert refusal(value) == cannot_travel(name, advice)


def test_an_open_file_and_a_socket_are_refused():
    """D6: Open files and sockets are refused; a temporary file is called a file."""
    with tempfile.NamedTemporaryFile() as file, socket.socket() as connection:
        assert refusal(file) == cannot_travel("tempfile._TemporaryFileWrapper", "save it and store its name")
        assert refusal(connection) == cannot_travel("socket.socket", GENERAL)


def test_the_lazy_user_of_a_visitor_is_refused_as_what_it_stands_for():
    """D6: request.user of a visitor without a login is refused as an AnonymousUser."""
    message = refusal(SimpleLazyObject(AnonymousUser))

    assert message == cannot_travel(
        "django.contrib.auth.models.AnonymousUser", "store it only when user.is_authenticated"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "ctx.x is nan, which JSON cannot represent; use None or a str"),
        (float("-inf"), "ctx.x is -inf, which JSON cannot represent; use None or a str"),
        (Decimal("NaN"), "ctx.x is Decimal('NaN'), which equals nothing; use None"),
        (Decimal("sNaN"), "ctx.x is Decimal('sNaN'), which equals nothing; use None"),
        (1 << 20_000, "ctx.x is an int of 20,001 bits, which JSON cannot represent; use hex(value)"),
        (
            "a\ud800",
            "ctx.x is a str with a lone surrogate, which is not valid Unicode; "
            "store value.encode(errors='replace').decode()",
        ),
        ({1: "a"}, "ctx.x is a dict with the key 1, an int; keys must be str"),
        ({None: "a"}, "ctx.x is a dict with the key None, a NoneType; keys must be str"),
        ({(1, 2): "a"}, "ctx.x is a dict with the key (1, 2), a tuple; keys must be str"),
        (
            {Colour.RED: "a"},
            f"ctx.x is a dict with the key <Colour.RED: 'red'>, a {__name__}.Colour; keys must be str",
        ),
        (
            {"\udfff": 1},
            "the key '\\udfff' of ctx.x is a str with a lone surrogate, which is not valid Unicode; "
            "store value.encode(errors='replace').decode()",
        ),
        (Sale(item="mug"), "ctx.x is an unsaved market.Sale; save it before the last step ends"),
        (Sale(pk=1), "ctx.x is an unsaved market.Sale; save it before the last step ends"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_a_value_of_a_good_type_that_cannot_travel_is_refused(value, message):
    """D6: NaN, a lone surrogate, an unsaved instance and the like are refused with the reason and the remedy."""
    assert refusal(value) == message


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([0, object()], "ctx.x[1]"),
        ((object(),), "ctx.x[0]"),
        ({"a b": {"c": object()}}, "ctx.x['a b']['c']"),
        ({object()}, "ctx.x{...}"),
        (Order([object()]), "ctx.x.lines[0]"),
        ({"$": object()}, "ctx.x['$']"),
    ],
    ids=str,
)
def test_the_message_names_the_place_of_what_is_refused(value, place):
    """D6: The message says where the refused part is inside the value."""
    assert refusal(value).startswith(f"{place} is an object, ")


def test_a_cycle_is_refused():
    """D6: A value that contains itself is refused, with the place of the cycle."""
    order = Order()
    order.lines.append({"order": order})

    message = refusal(order)

    assert message == (
        f"ctx.x.lines[0]['order'] is a {__name__}.Order that contains itself; store it without the cycle"
    )


def test_a_value_that_is_there_twice_is_no_cycle():
    """The same list in two places is stored twice."""
    line = [1]

    assert encode([line, line], "ctx.x") == [[1], [1]]


def test_a_value_that_is_nested_too_deep_is_refused():
    """D6: The limit of nesting is far below what would break encoding or decoding."""
    value = []
    for _ in range(MAX_DEPTH):
        value = [value]

    message = refusal(value)

    assert message == f"ctx.x{'[0]' * MAX_DEPTH} is a list nested deeper than {MAX_DEPTH} levels; store it flatter"
    assert encode(value[0], "ctx.x")


def test_a_class_that_a_worker_cannot_import_is_refused(monkeypatch):
    """D6: An Enum or dataclass from a function or the main script is refused, because a worker cannot import it."""

    class Local(enum.Enum):
        ONE = 1

    monkeypatch.setattr(Order, "__module__", "__main__")

    assert refusal(Local.ONE) == (
        f"ctx.x is a {__name__}:test_a_class_that_a_worker_cannot_import_is_refused.<locals>.Local, which a worker "
        "cannot import; define it at a module's top level"
    )
    assert refusal(Order()).startswith("ctx.x is a __main__:Order, which a worker cannot import;")


def test_a_class_that_another_one_hides_is_refused(monkeypatch):
    """D6: If another class has the name of a class now, the value is refused and not loaded as the other class."""
    order = Order()
    monkeypatch.setitem(globals(), "Order", Refused)

    assert refusal(order).startswith(f"ctx.x is a {__name__}:Order, which a worker cannot import;")


def subclass(base, name="Own", module=__name__):
    return type(name, (base,), {"__module__": module})


@pytest.mark.parametrize(
    ("value", "base", "hint"),
    [
        (subclass(str)("a"), str, "store str(value)"),
        (subclass(SafeString)("a"), SafeString, "store SafeString(value)"),
        (subclass(str, "Markup", "markupsafe")("a"), SafeString, "store SafeString(value)"),
        (subclass(bytes)(b"a"), bytes, "store bytes(value)"),
        (subclass(int)(3), int, "store int(value)"),
        (subclass(float)(1.5), float, "store float(value)"),
        (subclass(Decimal)("1.10"), Decimal, "store Decimal(value)"),
        (subclass(UUID)(int=7), UUID, "store UUID(int=value.int)"),
        (
            subclass(datetime)(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
            datetime,
            "store datetime.combine(value.date(), value.timetz())",
        ),
        (subclass(date)(2026, 1, 1), date, "store date.fromordinal(value.toordinal())"),
        (subclass(time)(9, 30), time, "store time.fromisoformat(value.isoformat())"),
        (
            subclass(timedelta)(days=-1, microseconds=1),
            timedelta,
            "store timedelta(value.days, value.seconds, value.microseconds)",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_subclass_of_a_scalar_is_refused_with_what_to_store(value, base, hint):
    """
    D6: A subclass of a plain type, which would lose its class silently, is refused; the hint of the message works.
    """
    name = f"{type(value).__module__}.{type(value).__name__}"
    assert refusal([value]) == f"ctx.x[0] is a {name}, which cannot be stored for the async tasks; {hint}"
    plain = eval(hint.removeprefix("store "), {**globals(), "value": value})
    assert plain == value
    assert type(plain) is base
    assert encode(plain, "ctx.x")


@pytest.mark.parametrize("base", [datetime, date])
def test_the_stand_ins_of_freezegun_travel_as_what_they_stand_for(base):
    """With freezegun, which stops the clock in a test, a FakeDatetime is stored as a datetime."""
    stand_in = subclass(base, f"Fake{base.__name__.title()}", "freezegun.api")

    assert encode(stand_in(2026, 1, 1), "ctx.x") == encode(base(2026, 1, 1), "ctx.x")


def test_a_key_of_a_dict_may_be_a_safe_string():
    """A SafeString as a key is stored as a str; other subclasses of str are refused as keys too."""
    [key] = encode({SafeString("<b>"): 1}, "ctx.x")

    assert (key, type(key)) == ("<b>", str)
    assert refusal({subclass(str)("a"): 1}) == f"ctx.x is a dict with the key 'a', a {__name__}.Own; keys must be str"


def test_what_python_sets_on_a_generic_dataclass_is_left_out():
    """A Page[int](...), on which typing sets an __orig_class__, is stored like a Page(...)."""
    assert encode(Page[int]([1]), "ctx.x") == encode(Page([1]), "ctx.x")
    assert Page[int]([1]).__orig_class__
