"""Features that answer different methods of one URL."""

import pytest
from django.db import connection
from django.test import Client

from numflow_django.discovery.registry import registry

pytestmark = pytest.mark.django_db

STEP = "def answer(ctx, request, response): response.json({{'answered': {0!r}, **request.resolver_match.kwargs}})\n"
VIEW = """
from django.contrib.auth.decorators import login_not_required
from django.views.decorators.csrf import csrf_exempt
from numflow_django import FeatureView

class View(FeatureView):
    {}
"""
EXEMPT = "decorators = [csrf_exempt]"
OPEN = "decorators = [login_not_required]"


@pytest.fixture
def site(tree, settings):
    """Write features, given by their folders and the body of their FeatureView if they have one; route them."""

    def route(features):
        for folder, body in features.items():
            tree.write({f"{folder}/steps/100_answer.py": STEP.format(folder.rpartition("@")[2])})
            if body is not None:
                tree.write({f"{folder}/feature.py": VIEW.format(body)})
        urls = f"from numflow_django import feature_urls\nurlpatterns = feature_urls({tree.package!r})"
        settings.ROOT_URLCONF = tree.write({"urls.py": urls}).package + ".urls"

    return route


@pytest.fixture
def browser(client):
    """A client that Django checks for CSRF tokens as it checks a browser."""
    return Client(enforce_csrf_checks=True)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_each_method_reaches_its_feature(site, client, method):
    """A34: Methods on one path share one URL, and each is answered by its own feature."""
    site({f"orders/[id=int]/@{name}": None for name in ("get", "post", "put", "patch", "delete")})

    answer = client.generic(method, "/orders/7/")

    assert answer.json() == {"answered": method.lower(), "id": 7}


def test_another_method_is_refused_with_all_good_ones(site, client):
    """A34: A method that no feature answers is a 405 whose Allow names those of all features on the URL."""
    site({"orders/@post": None, "orders/@get": None})

    answer = client.delete("/orders/")

    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS", "POST"}


def test_options_are_answered_without_a_step(site, client, django_assert_num_queries):
    """A34: OPTIONS names the methods of all features on the URL and runs no step."""
    site({"orders/@post": None, "orders/@put": None})

    with django_assert_num_queries(0):
        answer = client.options("/orders/")

    assert answer.status_code == 200
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == {"OPTIONS", "POST", "PUT"}
    assert answer.headers["Content-Length"] == "0"


def test_head_is_answered_by_get(site, client):
    """A34: HEAD is answered by the GET feature, without a body; where there is no GET it is a 405."""
    site({"a/@get": None, "a/@post": None, "b/@put": None, "b/@post": None})

    answer = client.head("/a/")

    assert (answer.status_code, answer.content) == (200, b"")
    assert client.head("/b/").status_code == 405


def test_a_path_attribute_shares_the_url_of_folders(site, client):
    """A34: A feature with a path of its own shares the URL of the folders that spell the same one."""
    site({"orders/[id]/@get": None, "cancel": "path = 'orders/<id>/'; method = 'DELETE'"})

    assert client.get("/orders/7/").json() == {"answered": "get", "id": "7"}
    assert client.delete("/orders/7/").json()["id"] == "7"
    assert registry.mistakes == []


@pytest.mark.parametrize(
    ("features", "method", "status"),
    [
        ({"a/@get": None, "a/@post": None}, "POST", 403),
        ({"a/@get": None, "a/@post": EXEMPT}, "POST", 200),
        ({"a/@put": None, "a/@post": EXEMPT}, "POST", 200),
        ({"a/@put": None, "a/@post": EXEMPT}, "PUT", 403),
        ({"a/@get": EXEMPT, "a/@post": None}, "POST", 403),
        ({"a/@get": EXEMPT, "a/@post": None}, "GET", 200),
        ({"a/@put": EXEMPT, "a/@post": EXEMPT}, "PUT", 200),
        ({"a/@put": None, "a/@post": EXEMPT}, "DELETE", 405),
    ],
    ids=str,
)
def test_csrf_exemption_is_each_method_s_own(site, browser, features, method, status):
    """A34: A method that is CSRF-exempt is, and one that is not is protected, though they share one view."""
    site(features)

    assert browser.generic(method, "/a/").status_code == status


def test_a_token_opens_a_protected_method_beside_an_exempt_one(site, browser):
    """A34: The protected method of a shared URL takes a good CSRF token."""
    site({"a/@put": None, "a/@post": EXEMPT})
    browser.cookies["csrftoken"] = "a" * 32

    answer = browser.put("/a/", headers={"X-CSRFToken": "a" * 32})

    assert answer.json() == {"answered": "put"}


def test_a_site_without_csrf_protection_gets_none(site, browser, settings):
    """A34: Where the site has no CSRF middleware, the shared view adds no protection of its own."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    site({"a/@put": None, "a/@post": EXEMPT})

    assert browser.put("/a/").status_code == 200


@pytest.mark.parametrize(
    ("features", "method", "status"),
    [
        ({"a/@get": None, "a/@post": None}, "GET", 302),
        ({"a/@get": OPEN, "a/@post": None}, "GET", 200),
        ({"a/@get": OPEN, "a/@post": None}, "HEAD", 200),
        ({"a/@get": OPEN, "a/@post": None}, "POST", 302),
        ({"a/@get": OPEN, "a/@post": OPEN}, "POST", 200),
    ],
    ids=str,
)
def test_who_must_log_in_is_each_method_s_own(site, client, settings, features, method, status):
    """A34: Under LoginRequiredMiddleware a method is open if it says so, whatever the others on its URL say."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    settings.LOGIN_URL = "/login/"
    site(features)

    assert client.generic(method, "/a/").status_code == status


def test_without_that_middleware_no_login_is_needed(site, client):
    """A34: Where the site requires no login, an open method makes no other one ask."""
    site({"a/@get": OPEN, "a/@post": None})

    assert client.post("/a/").status_code == 200


def test_a_missing_slash_redirects(site, client):
    """A34: A shared URL without its trailing slash redirects, as APPEND_SLASH promises."""
    site({"orders/@get": None, "orders/@post": None})

    answer = client.get("/orders")

    assert (answer.status_code, answer.headers["Location"]) == (301, "/orders/")


@pytest.mark.django_db(transaction=True)
def test_atomic_requests_leaves_a_shared_url_alone(site, client, monkeypatch, tree):
    """A34: ATOMIC_REQUESTS puts no transaction of its own around the features of a shared URL."""
    site({"orders/@get": "atomic = False", "orders/@post": None})
    step = "from django.db import connection\ndef answer(ctx, request, response): response.json(connection.{})\n"
    tree.write({"orders/@get/steps/100_answer.py": step.format("in_atomic_block")})
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    assert client.get("/orders/").json() is False
