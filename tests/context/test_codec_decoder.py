"""Tagged JSON becomes values again, and model instances are read from their databases."""

import dataclasses
import enum
import json
import sys
from types import ModuleType

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Manager
from django.utils.functional import SimpleLazyObject

from numflow_django.context.codec import decode, encode
from numflow_django.exceptions import ContextCorrupt, ContextInstanceGone, ContextValueError
from tests.market.models import Coupon, Day, Invoice, Sale, Shelf, Shipment


class Colour(enum.Enum):
    RED = 1


class Right(enum.Flag):
    READ = 1


@dataclasses.dataclass
class Parcel:
    sale: Sale
    note: str


class Code(str):
    """A code of the developer's own class."""


class Unlucky(Manager):
    """A default manager that hides rows, as for an archive."""

    def get_queryset(self):
        return super().get_queryset().exclude(item="hidden")


def frozen(value):
    """Return *value* as the text of a run row."""
    return json.loads(json.dumps(encode(value, "ctx.x")))


def corrupt(tree):
    with pytest.raises(ContextCorrupt) as caught:
        decode(tree, "ctx.x")
    return str(caught.value)


@pytest.mark.django_db
def test_an_instance_travels_as_a_reference_and_is_read_again():
    """A19: A model instance has the values of its row when it is read, not those from when it was stored."""
    sale = Sale.objects.create(item="mug")
    tree = frozen(sale)
    Sale.objects.update(item="cup")

    thawed = decode(tree, "ctx.x")

    assert thawed == sale
    assert thawed.item == "cup"
    assert tree == {"$": "model", "m": "market.Sale", "pk": sale.pk, "db": "default"}


@pytest.mark.django_db(databases=["default", "other"])
def test_an_instance_comes_back_from_its_own_database():
    """Two instances with one key in two databases come back, each from its own database."""
    here = Sale.objects.create(pk=7, item="here")
    there = Sale.objects.using("other").create(pk=7, item="there")

    thawed = decode(frozen([here, there]), "ctx.x")

    assert [(sale._state.db, sale.item) for sale in thawed] == [("default", "here"), ("other", "there")]


@pytest.mark.django_db(databases=["default", "other"])
def test_one_query_for_each_model_and_database(django_assert_num_queries):
    """Fifty instances in nested values are read with one query for each model and database."""
    sales = Sale.objects.bulk_create(Sale(item=str(number)) for number in range(50))
    users = [User.objects.create(username=name) for name in "ab"]
    elsewhere = Sale.objects.using("other").create(item="there")
    value = {"sales": [Parcel(sale, "") for sale in sales], "users": set(users), "more": (sales[0], elsewhere)}

    tree = frozen(value)
    with django_assert_num_queries(2), django_assert_num_queries(1, using="other"):
        thawed = decode(tree, "ctx.x")

    assert thawed == value
    assert thawed["sales"][0].sale is thawed["more"][0]


@pytest.mark.django_db
def test_the_lazy_user_of_a_request_comes_back_as_a_user():
    """request.user of a logged-in user is stored as the user."""
    user = User.objects.create(username="kim")

    thawed = decode(frozen(SimpleLazyObject(lambda: user)), "ctx.x")

    assert type(thawed) is User
    assert thawed == user


KEY = "2f0c6f0e-7a54-4f9c-9b1e-0c6e1c6b4f11"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "create",
    [
        lambda: Sale.objects.create(pk="7", item="mug"),
        lambda: Shipment.objects.create(pk=KEY),
        lambda: Invoice.objects.create(shipment_id=str(Shipment.objects.create().pk)),
        lambda: Day.objects.create(day="2026-11-28"),
        lambda: Coupon.objects.create(code=5),
        lambda: Coupon.objects.create(code=Code("WELCOME")),
        lambda: Shelf.objects.create(row=3, place="1"),
    ],
    ids=["number", "UUID", "OneToOne", "date", "text", "str of a class of one's own", "composite"],
)
def test_a_key_that_was_given_in_another_type_is_found(create, django_assert_num_queries):
    """An instance whose key has another type than its field, such as text for a UUID, comes back."""
    stored = create()
    tree = frozen(stored)

    with django_assert_num_queries(1):
        thawed = decode(tree, "ctx.x")

    stored.refresh_from_db()
    assert type(thawed) is type(stored)
    assert str(thawed) == str(stored)


@pytest.mark.django_db
def test_two_types_of_one_key_are_one_row():
    """A row that is stored by its text key and by its number key is read once and comes back in both places."""
    shipment = Shipment.objects.create(pk=KEY)

    first, second = decode(frozen([shipment, Shipment.objects.get()]), "ctx.x")

    assert first is second


@pytest.mark.django_db
def test_a_key_in_another_case_is_found_where_the_database_takes_it_for_the_same(django_assert_num_queries):
    """If the collation ignores case, the database decides which row a key means, with a query only for such a key."""
    Coupon.objects.bulk_create([Coupon(code="welcome"), Coupon(code="summer")])
    welcome = Coupon.objects.get(code="WELCOME")
    assert welcome.code == "welcome"
    welcome.code = "WELCOME"
    tree = frozen([welcome, *Coupon.objects.order_by("code")])

    with django_assert_num_queries(2):
        thawed = decode(tree, "ctx.x")

    assert [coupon.code for coupon in thawed] == ["welcome", "summer", "welcome"]


@pytest.mark.django_db
def test_a_key_that_its_field_cannot_take_any_more_is_named():
    """If a model's key has another type now, ContextCorrupt names the place, the model and the key."""
    tree = {"$": "model", "m": "market.Shipment", "pk": "A-1", "db": "default"}

    assert corrupt(tree) == "ctx.x: market.Shipment cannot have the primary key 'A-1' (any more)"


@pytest.mark.django_db
def test_a_row_that_the_default_manager_hides_is_found(monkeypatch):
    """An instance that the model's default manager hides is read too."""
    sale = Sale.objects.create(item="hidden")
    manager = Unlucky()
    manager.model = Sale
    monkeypatch.setattr(Sale._meta, "default_manager", manager, raising=False)
    assert not Sale._default_manager.exists()

    assert decode(frozen(sale), "ctx.x") == sale


@pytest.mark.django_db
def test_a_gone_instance_says_so():
    """A deleted row raises ContextInstanceGone with the place, the model, the key and the database."""
    sale = Sale.objects.create(item="mug")
    tree = frozen({"sale": sale})
    pk = sale.pk
    sale.delete()

    with pytest.raises(ContextInstanceGone) as caught:
        decode(tree, "ctx.x")

    assert str(caught.value) == (f"ctx.x: market.Sale with primary key {pk} no longer exists in the database 'default'")
    assert isinstance(caught.value, ObjectDoesNotExist)


@pytest.mark.django_db
def test_a_deleted_instance_is_refused():
    """D6: An instance that was deleted before the context is stored is refused; only plain values could be stored."""
    sale = Sale.objects.create(item="mug")
    sale.delete()

    with pytest.raises(ContextValueError) as caught:
        encode([sale], "ctx.x")

    assert str(caught.value) == (
        "ctx.x[0] is a market.Sale that has been deleted; store what you need of it as plain values"
    )


@pytest.mark.django_db
def test_a_thawed_and_deleted_instance_keeps_its_reference_where_that_is_asked_for():
    """An instance that a task deletes stays stored as its reference, and the values beside it may change."""
    value = decode(frozen({"sale": Sale.objects.create(item="mug"), "done": False}), "ctx.x")
    reference = frozen(value)["sale"]
    value["sale"].delete()
    value["done"] = True

    assert encode(value, "ctx.x", keep_deleted=True) == {"sale": reference, "done": True}
    with pytest.raises(ContextValueError, match=r"ctx\.x\['sale'\] is a market\.Sale that has been deleted"):
        encode(value, "ctx.x")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "data",
    [
        {"$": "model"},
        {"$": "model", "m": "auth.User", "pk": 1, "db": "default"},
        {"a": {"$": "dict", "v": {"$": "model", "m": "auth.User", "pk": 1, "db": "default"}}},
    ],
    ids=str,
)
def test_data_that_looks_like_a_reference_is_data(data, django_assert_num_queries):
    """A dict of the client's that looks like our tags comes back unchanged, without a query."""
    tree = frozen(data)

    with django_assert_num_queries(0):
        assert decode(tree, "ctx.x") == data


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"$": "model", "m": "shop.Gone", "pk": 1, "db": "default"},
            "ctx.x refers to the model shop.Gone, which is not installed (any more)",
        ),
        (
            {"$": "model", "m": "market.Sale", "pk": 1, "db": "archive"},
            "ctx.x refers to the database 'archive', which is not in DATABASES",
        ),
        (
            {"$": "enum", "t": f"{__name__}:Colour", "v": "BLUE"},
            f"ctx.x: {__name__}:Colour has no member 'BLUE' (any more)",
        ),
        ({"$": "flag", "t": f"{__name__}:Right", "v": 8}, f"ctx.x: {__name__}:Right has no member 8 (any more)"),
        (
            {"$": "enum", "t": f"{__name__}:Gone", "v": "RED"},
            f"ctx.x: the class {__name__}:Gone cannot be found (any more)",
        ),
        (
            {"$": "dataclass", "t": "no.such.module:Gone", "v": {}},
            "ctx.x: the class no.such.module:Gone cannot be found (any more)",
        ),
        (
            {"$": "enum", "t": f"{__name__}:Parcel", "v": "RED"},
            f"ctx.x: the class {__name__}:Parcel cannot be found (any more)",
        ),
        (
            {"$": "dataclass", "t": f"{__name__}:Colour", "v": {}},
            f"ctx.x: {__name__}:Colour is not a dataclass (any more)",
        ),
        (
            {"$": "dataclass", "t": f"{__name__}:Parcel", "v": {"note": ""}},
            f"ctx.x: {__name__}:Parcel now has the field 'sale'; give it a default",
        ),
        ({"$": "matrix", "v": []}, "ctx.x contains a 'matrix', which this version of numflow_django does not know"),
        (
            {"$": "datetime", "v": "2026-01-01T00:00:00+09:00", "tz": "Mars/Base"},
            "ctx.x: No time zone found with key Mars/Base; install tzdata on the worker",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_code_has_lost_is_named(tree, message):
    """If its class, model or database no longer exists, a stored value raises ContextCorrupt, which names both."""
    assert corrupt(tree) == message


@pytest.fixture
def deploy(monkeypatch):
    """Put a class into a module that represents the code of one deployment."""

    def put(cls):
        module = ModuleType("deployed")
        monkeypatch.setitem(sys.modules, "deployed", module)
        cls.__module__, cls.__qualname__ = "deployed", "Order"
        module.Order = cls

    return put


@pytest.mark.parametrize("slots", [False, True])
def test_a_dataclass_may_change_between_request_and_worker(deploy, slots):
    """A dataclass that got a field with a default, or lost a field, is loaded after a deployment."""
    old = dataclasses.make_dataclass("Order", ["a", "lost"], slots=slots)
    deploy(old)
    tree = frozen(old(1, 2))
    defaults = [("b", int, 5), ("c", list, dataclasses.field(default_factory=list))]
    new = dataclasses.make_dataclass("Order", ["a", *defaults], slots=slots)
    deploy(new)

    thawed = decode(tree, "ctx.x")

    assert type(thawed) is new
    assert (thawed.a, thawed.b, thawed.c) == (1, 5, [])
