"""The attributes of a feature: one declaration, and all that is derived from it."""

from dataclasses import FrozenInstanceError

import pytest

from numflow_django import FeatureView
from numflow_django.discovery.attributes import (
    DeclaredAttributes,
    FeatureAttributes,
    attribute_names,
    fixed_attribute_names,
)
from numflow_django.discovery.registry import registry
from numflow_django.routing.catalogue import catalogue

STEP = {"100_answer.py": "def answer(ctx, request, response):\n    response.json({})\n"}


@pytest.fixture
def with_limit(monkeypatch):
    """A further attribute, ``daily_limit``, declared where the others are."""
    monkeypatch.setitem(FeatureAttributes.__annotations__, "daily_limit", int)
    monkeypatch.setattr(FeatureAttributes, "daily_limit", 100, raising=False)


def test_a_new_attribute_needs_one_declaration(tree, with_limit):
    """A new attribute is in FeatureView, is refused by as_view(), and is kept and printed, without another line."""
    tree.feature("buy", steps=STEP, daily_limit=3)
    tree.feature("sell", steps=STEP)

    features = {entry.feature.label: entry for entry in catalogue([tree.package])}

    assert FeatureView.daily_limit == 100
    with pytest.raises(TypeError, match=r"as_view\(daily_limit=...\): set daily_limit on the class"):
        tree.view("buy").as_view(daily_limit=5)
    for name, limit in {"buy": 3, "sell": 100}.items():
        entry = features[f"{tree.package}.{name}"]
        assert entry.feature.declared.daily_limit == limit
        assert entry.as_json()["daily_limit"] == limit


def test_a_misspelt_new_attribute_is_a_mistake(tree, with_limit):
    """A name that is like a new attribute is reported, as for the other attributes."""
    tree.feature("buy", steps=STEP, dayly_limit=3)

    [mistake] = tree.mistakes()

    assert "dayly_limit is not an attribute of a feature; did you mean 'daily_limit'?" in mistake


def test_only_what_is_marked_may_differ_at_each_request():
    """Each attribute is fixed at registration, unless its annotation says PerRequest."""
    assert set(attribute_names()) - fixed_attribute_names() == {"rollback_on_error_response"}


def test_a_registered_feature_keeps_its_attributes(tree):
    """What was registered stays, even if the class changes; it cannot be assigned."""
    tree.feature("buy", steps=STEP, using="default", queue="mail")
    view = tree.view("buy")
    feature = registry.register(view)
    view.queue = "default"

    assert feature.declared.queue == feature.queue == "mail"
    with pytest.raises(FrozenInstanceError, match="cannot assign to 'queue'"):
        feature.declared.queue = "default"


def test_the_declared_attributes_are_those_of_the_class_and_its_bases():
    """An attribute that a class does not set has the value of its base."""

    class Base(FeatureAttributes):
        using = "other"

    class View(Base):
        atomic = False

    declared = DeclaredAttributes(View)

    assert {name: getattr(declared, name) for name in attribute_names()} == {
        "path": None,
        "method": None,
        "steps": None,
        "async_tasks": None,
        "decorators": (),
        "using": "other",
        "queue": None,
        "atomic": False,
        "rollback_on_error_response": True,
    }
