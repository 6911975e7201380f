"""The system checks of the URLs of the features."""

import pytest
from django.core.checks import run_checks
from django.db import connections
from django.test import Client

from numflow_django.routing.scan import scan

STEP = "def answer(ctx, request, response): response.json({})\n"
VIEW = "from django.db import transaction\nfrom numflow_django import FeatureView\n\nclass View(FeatureView):\n    {}\n"


@pytest.fixture
def warnings(tree, settings):
    """Write features and the lines of a URLconf, in which PACKAGE is that of the features; return the warnings."""

    def check(features, *lines):
        for folder, body in features.items():
            tree.write({f"{folder}/steps/100_answer.py": STEP})
            if body is not None:
                tree.write({f"{folder}/feature.py": VIEW.format(body)})
        urls = ",\n    ".join(lines).replace("PACKAGE", tree.package)
        tree.write({"urls.py": f"{IMPORTS}\nurlpatterns = [\n    {urls}\n]\n"})
        settings.ROOT_URLCONF = f"{tree.package}.urls"
        settings.NUMFLOW = {"FEATURES": [tree.package]}
        scan(tree.package)
        found = run_checks(tags=["numflow"])
        return [
            (one.id, one.msg.replace(tree.package, "PACKAGE"), one.hint.replace(tree.package, "PACKAGE"))
            for one in found
        ]

    return check


IMPORTS = """
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views.generic import TemplateView
from numflow_django import feature_urls

def plain(request, **kwargs):
    return HttpResponse("plain")
"""
ALL = 'path("", include(feature_urls("PACKAGE")))'
PLAIN = "PACKAGE.urls.plain"


def test_features_that_are_routed_are_fine(warnings):
    """A33: Features that a URL reaches, under a prefix or not, on a shared URL or not, are no warning."""
    features = {"orders/@get": None, "orders/@post": None, "orders/[id=int]/@get": None, "buy": "path = 'buy/'"}

    assert warnings(features, 'path("shop/", include(feature_urls("PACKAGE")))') == []


def test_features_that_are_routed_by_hand_are_fine(warnings):
    """A33: A feature with a URL of its own in the URLconf is reached."""
    assert warnings({"buy": "pass"}, 'path("x/", __import__("PACKAGE.buy.feature").buy.feature.View.as_view())') == []


def test_a_decorator_that_hides_the_class_hides_no_feature(warnings):
    """A33: A feature behind a decorator without functools.wraps is reached."""
    view = '(lambda view: lambda request: view(request))(__import__("PACKAGE.buy.feature").buy.feature.View.as_view())'

    assert warnings({"buy": "pass"}, f'path("x/", {view})') == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "A feature of PACKAGE cannot be reached by any URL: PACKAGE.a.@get."),
        (["a", "b"], "2 features of PACKAGE cannot be reached by any URL: PACKAGE.a.@get, PACKAGE.b.@get."),
        (
            "abcdefg",
            "7 features of PACKAGE cannot be reached by any URL: PACKAGE.a.@get, PACKAGE.b.@get, PACKAGE.c.@get, "
            "PACKAGE.d.@get, PACKAGE.e.@get and 2 more.",
        ),
    ],
)
def test_features_that_nobody_routed_are_a_warning(warnings, names, message):
    """A4: Features that were found and that no URL reaches are one warning with the line to add."""
    assert warnings({f"{name}/@get": None for name in names}) == [
        ("numflow.W205", message, 'Add path("", include(feature_urls("PACKAGE"))) to urlpatterns in PACKAGE.urls.')
    ]


def test_a_part_that_nobody_routed_is_a_warning(warnings):
    """A4: Where a part of the package is routed, the rest is reported."""
    [(code, message, _)] = warnings(
        {"api/@get": None, "web/@get": None}, 'path("", include(feature_urls("PACKAGE.api")))'
    )

    assert (code, message) == ("numflow.W205", "A feature of PACKAGE cannot be reached by any URL: PACKAGE.web.@get.")


def test_a_site_without_a_urlconf_is_a_worker(errors_without_urlconf):
    """A site without ROOT_URLCONF, as a worker's may be, has no URL to miss."""
    assert errors_without_urlconf == []


@pytest.fixture
def errors_without_urlconf(tree, settings):
    tree.write({"a/@get/steps/100_answer.py": STEP})
    settings.NUMFLOW = {"FEATURES": [tree.package]}
    scan(tree.package)
    del settings.ROOT_URLCONF
    return run_checks(tags=["numflow"])


MOVE = "Move its include() before the other route, give it a prefix, or change one of the paths."


@pytest.mark.parametrize(
    ("features", "lines", "label", "route", "rival"),
    [
        ({"a/@get": None}, ['path("a/", plain)', ALL], "a.@get", "a/", PLAIN),
        ({"a/@get": None}, ['path("<slug:page>/", plain)', ALL], "a.@get", "a/", PLAIN),
        ({"a/@get": None}, ['re_path("^", plain)', ALL], "a.@get", "a/", PLAIN),
        ({"[id]/@get": None}, ['path("<page>/", plain)', ALL], "[id].@get", "<str:id>/", PLAIN),
        (
            {"[id=int]/[at=uuid]/@get": None},
            ['path("<path:page>/", plain)', ALL],
            *("[id=int].[at=uuid].@get", "<int:id>/<uuid:at>/", PLAIN),
        ),
        (
            {"a/@get": None},
            ['path("a/", TemplateView.as_view())', ALL],
            *("a.@get", "a/", "django.views.generic.base.TemplateView"),
        ),
        (
            {"x/[slug]/@get": None, "y/about/@get": None},
            ['path("", include(feature_urls("PACKAGE.x")))', 'path("", include(feature_urls("PACKAGE.y")))'],
            *("y.about.@get", "about/", "PACKAGE.x.[slug].@get.Get"),
        ),
        (
            {"x/a/@get": None, "y/a/@post": None},
            ['path("", include(feature_urls("PACKAGE.x")))', 'path("", include(feature_urls("PACKAGE.y")))'],
            *("y.a.@post", "a/", "PACKAGE.x.a.@get.Get"),
        ),
        (
            {"x/a/@get": None, "x/a/@put": None, "y/a/@post": None},
            ['path("", include(feature_urls("PACKAGE.x")))', 'path("", include(feature_urls("PACKAGE.y")))'],
            *("y.a.@post", "a/", "PACKAGE.x.a.get_or_put"),
        ),
    ],
    ids=str,
)
def test_a_url_that_another_view_answers_is_a_warning(warnings, features, lines, label, route, rival):
    """A34, A35: A feature behind a route that takes its URL, another root's or any view's, is reported with it."""
    assert warnings(features, *lines) == [
        (
            "numflow.W206",
            f"PACKAGE.{label} cannot be reached: /{route} is answered by {rival}, which comes first in the URLconf.",
            MOVE,
        )
    ]


@pytest.mark.parametrize(
    ("features", "lines"),
    [
        ({"[id]/@get": None}, ['path("about/", plain)', ALL]),
        ({"[id=int]/@get": None}, ['path("0/", plain)', ALL]),
        ({"a/@get": None}, [ALL, 'path("a/", plain)']),
        (
            {"a/@get": None},
            [
                'path("x/", include(feature_urls("PACKAGE")))',
                'path("y/", include(feature_urls("PACKAGE"), namespace="y"))',
            ],
        ),
        ({"a/@get": None}, ['re_path("^", include(feature_urls("PACKAGE")))']),
        ({"a/@get": None}, ['*i18n_patterns(path("", include(feature_urls("PACKAGE"))))']),
    ],
    ids=str,
)
def test_a_url_that_the_feature_answers_is_no_warning(warnings, features, lines):
    """A33, A35: A route before a parametric one, one behind a feature, two prefixes, a regex: nothing is hidden."""
    assert warnings(features, *lines) == []


TWO = {"buy": "using = 'other'"}
EXEMPT = {"buy": "using, decorators = 'other', [transaction.non_atomic_requests(using='default')]"}
LATE = (
    "numflow.W207",
    "feature PACKAGE.buy: its async tasks may start before 'default' is committed: its transaction is on 'other', and "
    "ATOMIC_REQUESTS puts one on 'default' around it.",
    "Add transaction.non_atomic_requests(using='default') to its decorators.",
)


@pytest.mark.parametrize(
    ("features", "alias", "found"),
    [
        (TWO, "default", [LATE]),
        (EXEMPT, "default", []),
        (TWO, "other", []),
        ({"buy": "pass"}, "default", []),
    ],
    ids=str,
)
def test_a_transaction_around_another_database_is_a_warning(
    tree, warnings, settings, monkeypatch, features, alias, found
):
    """ATOMIC_REQUESTS of another database than the feature's commits after its tasks are enqueued, and is reported."""
    monkeypatch.setitem(settings.DATABASES[alias], "ATOMIC_REQUESTS", True)
    tree.write({"buy/async_tasks/100_send.py": "def send(ctx): pass\n"})

    assert warnings(features, ALL) == found


def test_a_feature_without_tasks_may_have_a_transaction_around_it(warnings, settings, monkeypatch):
    """Without async tasks ATOMIC_REQUESTS of another database is what Django always does."""
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", True)

    assert warnings(TWO, ALL) == []


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize(("features", "is_open"), [(TWO, True), (EXEMPT, False)], ids=str)
def test_the_warning_and_its_hint_are_true(tree, warnings, settings, enqueued, monkeypatch, features, is_open):
    """At the dispatch the other database's transaction is open, and with the decorator of the hint there is none."""
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    tree.write({"buy/async_tasks/100_send.py": "def send(ctx): pass\n"})
    warnings(features, ALL)
    states = []
    enqueued.watch = lambda: states.append(connections["default"].in_atomic_block)

    assert Client().get("/buy/").status_code == 200

    assert states == [is_open]
