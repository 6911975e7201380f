"""Folders become URL patterns."""

import unicodedata

import pytest
from django.urls import NoReverseMatch, resolve, reverse

from numflow_django import feature_urls
from numflow_django.registry import registry

pytestmark = pytest.mark.django_db

STEP = "def answer(ctx, request, response): response.json(request.resolver_match.kwargs)\n"
VIEW = "from numflow_django import FeatureView\n\nclass View(FeatureView):\n    {}\n"


@pytest.fixture
def site(tree, settings):
    """Write features, given by their folders and the body of their FeatureView if they have one; route them."""

    def route(features, prefix=""):
        for folder, body in features.items():
            tree.write({f"{folder}/steps/100_answer.py": STEP})
            if body is not None:
                tree.write({f"{folder}/feature.py": VIEW.format(body)})
        tree.write(
            {
                "urls.py": f"""
                    from django.http import HttpResponse
                    from django.urls import include, path
                    from numflow_django import feature_urls
                    urlpatterns = [
                        path("plain/", lambda request: HttpResponse("plain")),
                        path({prefix!r}, include(feature_urls({tree.package!r}))),
                    ]
                """
            }
        )
        settings.ROOT_URLCONF = f"{tree.package}.urls"
        return [str(pattern.pattern) for pattern in feature_urls(tree.package)]

    return route


@pytest.mark.parametrize(
    ("folder", "body", "method", "route"),
    [
        ("create_order", "pass", "GET", "create_order/"),
        ("create_order", "path = 'api/orders/'; method = 'POST'", "POST", "api/orders/"),
        ("create_order", "path = '/api/orders/'", "GET", "api/orders/"),
        ("create_order", "path = 'api/orders'", "GET", "api/orders"),
        ("create_order", "path = ''", "GET", ""),
        ("@get", None, "GET", ""),
        ("api/orders/@get", None, "GET", "api/orders/"),
        ("api/orders/@POST", None, "POST", "api/orders/"),
        ("api/orders/@Patch", None, "PATCH", "api/orders/"),
        ("api/orders/@put", None, "PUT", "api/orders/"),
        ("api/orders/@delete", None, "DELETE", "api/orders/"),
        ("orders/[order_id]/@get", None, "GET", "orders/<str:order_id>/"),
        ("orders/[order_id=int]/lines/[line=uuid]/@get", None, "GET", "orders/<int:order_id>/lines/<uuid:line>/"),
        ("orders/@post", "method = 'PUT'", "PUT", "orders/"),
        ("orders/@post", "path = 'buy/'", "POST", "buy/"),
        ("orders/@post", "path = 'buy/'; method = 'PUT'", "PUT", "buy/"),
        ("orders/@post", "queue = None", "POST", "orders/"),
        ("orders/[order_id]", "path = 'orders/<order_id>/'", "GET", "orders/<str:order_id>/"),
        ("steps/@get", None, "GET", "steps/"),
        ("async_tasks/steps/@get", None, "GET", "async_tasks/steps/"),
        ("get/post/@get", None, "GET", "get/post/"),
        ("주문/@get", None, "GET", "주문/"),
    ],
)
def test_method_and_path_come_from_the_folders_or_the_attributes(site, client, folder, body, method, route):
    """A29, A30, A31, A32: Folders give method and path; a ``feature.py`` overrides them one attribute at a time."""
    routes = site({folder: body})

    url = "/" + route.replace("<str:order_id>", "7").replace("<int:order_id>", "7")
    url = url.replace("<uuid:line>", "01890a5d-ac96-774b-bcce-b302099a8057")
    assert registry.mistakes == []
    assert routes == [route]
    assert client.generic(method, url).status_code == 200


def test_only_the_method_of_the_folder_is_answered(site, client):
    """A30: Another method than the folder's is a 405 that names the good ones."""
    site({"orders/@post": None})

    answer = client.get("/orders/")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST, OPTIONS"


def test_parameters_reach_the_steps(site, client):
    """A31: A ``[name=converter]`` folder is a parameter of the route, converted, and nothing else matches."""
    site({"orders/[order_id=int]/@get": None})

    assert client.get("/orders/7/").json() == {"order_id": 7}
    assert client.get("/orders/x/").status_code == 404


@pytest.mark.parametrize(
    ("folders", "url", "label"),
    [
        (["blog/[slug]/@get", "blog/about/@get"], "/blog/about/", "blog.about.@get"),
        (["blog/[slug]/@get", "blog/zebra/@get"], "/blog/zebra/", "blog.zebra.@get"),
        (["blog/[slug]/[page]/@get", "blog/about/[page]/@get"], "/blog/about/2/", "blog.about.[page].@get"),
        (["[a]/@get", "z/@get"], "/z/", "z.@get"),
        (["i/[a=str]/@get", "i/[b=int]/@get"], "/i/7/", "i.[b=int].@get"),
        (["i/[a=slug]/@get", "i/[b=uuid]/@get"], f"/i/{'0' * 8}-0000-0000-0000-{'0' * 12}/", "i.[b=uuid].@get"),
        (["i/[a=path]/@get", "i/[b=str]/@get"], "/i/x/", "i.[b=str].@get"),
        (["i/[a=path]/@get", "i/[b=str]/edit/@get"], "/i/x/edit/", "i.[b=str].edit.@get"),
        (["i/[a=path]/@get", "i/[b=slug]/@get", "i/[c]/@get"], "/i/x/", "i.[b=slug].@get"),
    ],
)
def test_the_narrowest_route_is_tried_first(tree, site, folders, url, label):
    """A35: Static comes before parametric, and a narrow parameter before a wide one, whatever the files' order."""
    site(dict.fromkeys(folders))

    view = resolve(url).func

    assert view.view_class.feature.label == f"{tree.package}.{label}"


@pytest.mark.parametrize(("append_slash", "route"), [(True, "orders/<str:id>/"), (False, "orders/<str:id>")])
def test_the_trailing_slash_follows_the_setting(site, settings, append_slash, route):
    """A29: A path from the folders ends with a slash as APPEND_SLASH says; the root has none of its own."""
    settings.APPEND_SLASH = append_slash

    assert site({"orders/[id]/@get": None, "@get": None}) == ["", route]


def test_a_prefix_and_ordinary_routes(site, client):
    """A33: Features may lie under a prefix, beside ordinary routes of Django's."""
    site({"orders/@get": None, "@get": None}, prefix="shop/")

    assert client.get("/shop/orders/").status_code == 200
    assert client.get("/shop/").status_code == 200
    assert client.get("/orders/").status_code == 404
    assert client.get("/plain/").content == b"plain"


def test_several_roots(tree, site):
    """A33: Two packages may be routed, each with its own features."""
    site({"shop/orders/@get": None, "blog/posts/@get": None})

    assert [str(pattern.pattern) for pattern in feature_urls(f"{tree.package}.shop")] == ["orders/"]
    assert [str(pattern.pattern) for pattern in feature_urls(f"{tree.package}.blog")] == ["posts/"]


@pytest.mark.parametrize(
    ("folder", "name", "kwargs", "url"),
    [
        ("create_order", "create_order", {}, "/create_order/"),
        ("api/orders/@post", "api-orders-post", {}, "/api/orders/"),
        ("orders/[order_id=int]/@get", "orders-order_id-get", {"order_id": 7}, "/orders/7/"),
        ("@get", "get", {}, "/"),
    ],
)
def test_each_route_has_a_name(site, folder, name, kwargs, url):
    """A feature's URL is reversed by the name of its folders, joined by hyphens."""
    site({folder: None if "@" in folder else "pass"})

    assert reverse(name, kwargs=kwargs) == url


def test_methods_that_share_a_url_have_a_name_each(site):
    """A34: Every feature on a shared URL can be reversed by its own name."""
    site({"orders/@get": None, "orders/@post": None})

    assert reverse("orders-get") == reverse("orders-post") == "/orders/"
    with pytest.raises(NoReverseMatch):
        reverse("orders-delete")


def test_a_name_in_decomposed_korean_is_routed_composed(tree, site, client):
    """A folder that macOS names decomposed answers at the composed URL that browsers send, and has that label."""
    composed = unicodedata.normalize("NFC", "주문")

    assert site({f"{unicodedata.normalize('NFD', composed)}/@get": None}) == [f"{composed}/"]

    assert client.get(f"/{composed}/").status_code == 200
    assert registry.find(f"{tree.package}.{composed}.@get")


def test_folders_without_features_are_passed_over(tree, site):
    """Helpers, hidden folders, data, and what a switch of branches leaves behind are no features and no mistakes."""
    tree.write(
        {
            "_shared/@get/feature.py": "1 / 0",
            ".git/@get/feature.py": "1 / 0",
            "data/prices.csv": "",
            "old/@post/steps/__pycache__/100_gone.cpython-311.pyc": "",
            "older/steps/__pycache__/100_gone.cpython-311.pyc": "",
            "steps/login_steps.py": "# of behave",
            "helpers.py": "",
        }
    )

    assert site({"orders/@get": None}) == ["orders/"]
    assert registry.mistakes == []


def test_an_init_file_changes_nothing(tree, site):
    """Folders may have an ``__init__.py``."""
    tree.write({f"{folder}/__init__.py": "" for folder in (".", "api", "api/[id]", "api/[id]/@get")})

    assert site({"api/[id]/@get": None}) == ["api/<str:id>/"]
