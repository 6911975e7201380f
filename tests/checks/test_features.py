"""The checks of the features: each mistake is an error with its id and its remedy."""

from inspect import getdoc

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from numflow_django import exceptions
from numflow_django.discovery.registry import load_routes, registry
from numflow_django.exceptions import FeatureConfigurationError
from numflow_django.routing.scan import scan

STEP = "def answer(ctx, request, response): response.json({})\n"


def test_all_mistakes_in_the_features_show_at_once(tree, errors):
    """A4: Each mistake in the features is one check error with its id, its message and its class's remedy."""
    tree.feature("a", steps={"100_answer.py": STEP, "wrong.py": ""}, queue="x")
    tree.feature("b", steps={"100_answer.py": "1 / 0", "100_other.py": ""})
    tree.feature("c", steps={"100_answer.py": "def answer(request): pass"})
    mistakes = tree.mistakes()

    found = errors()

    assert [message for _, message, _ in found] == mistakes
    assert sorted(code for code, _, _ in found) == [f"numflow.E10{number}" for number in (2, 3, 5, 6, 7, 9)]
    hints = {code: hint for code, _, hint in found}
    assert hints["numflow.E102"] == getdoc(exceptions.InvalidModuleName)
    assert "cannot get. A step takes ``(ctx)``" in hints["numflow.E106"]


@pytest.mark.django_db(databases=["default", "other"])  # Django 6.1's own checks ask the databases
def test_the_command_fails_and_shows_them(tree, capsys):
    """A4: ``manage.py check`` fails with all mistakes of the features."""
    load_routes()  # before there are mistakes: a process that is no command raises them
    tree.feature("a", steps={"wrong.py": ""})
    tree.feature("b", steps={"100_answer.py": "1 / 0"})
    tree.mistakes()

    with pytest.raises(SystemCheckError) as caught:
        call_command("check")

    assert "(numflow.E102)" in str(caught.value)
    assert "(numflow.E107)" in str(caught.value)
    assert "System check identified 2 issues" in str(caught.value)


def test_features_that_are_routed_by_hand_are_checked(tree, errors, settings):
    """A4: The checks load the URLconf, and so show the mistakes of features that only that routes."""
    tree.feature("buy", steps={"wrong.py": ""})
    tree.write(
        {
            "urls.py": f"""
                from django.urls import path
                from {tree.package}.buy.feature import View
                urlpatterns = [path("buy/", View.as_view())]
            """
        }
    )
    settings.ROOT_URLCONF = f"{tree.package}.urls"

    assert [code for code, _, _ in errors(FEATURES=[])] == ["numflow.E102"]


def test_every_mistake_has_a_code_and_a_remedy():
    """Each class of mistakes has an id of its own and a docstring, which is the check's hint."""
    kinds = FeatureConfigurationError.__subclasses__()

    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(len(getdoc(kind)) > 40 for kind in kinds)
    assert registry.mistakes == []


def test_features_beside_their_empty_package_are_an_error(tree, errors, settings):
    """An empty package of features is an error if there are features beside it, one level too high."""
    tree.write({"features/__init__.py": "", "buy/feature.py": "", "api/orders/@post/steps/100_answer.py": STEP})
    scan(f"{tree.package}.features")

    assert errors(FEATURES=[f"{tree.package}.features"]) == [
        (
            "numflow.E006",
            f"{tree.root}/features holds no feature, and beside it are {tree.root}/api, {tree.root}/buy.",
            f"Move api, buy into {tree.root}/features.",
        )
    ]


def test_features_that_are_found_elsewhere_lie_beside_nothing(tree, errors):
    """An empty package is fine where the features beside it are found by another name, or routed by hand."""
    tree.write({"features/__init__.py": "", "api/orders/@post/steps/100_answer.py": STEP})
    tree.feature("buy", steps={"100_answer.py": STEP})
    tree.view("buy").as_view()
    scan(f"{tree.package}.features")
    scan(f"{tree.package}.api")

    assert errors(FEATURES=[]) == []
