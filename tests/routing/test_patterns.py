"""Folders become URL patterns."""

import unicodedata

import pytest
from django.core.checks.urls import check_url_config, check_url_namespaces_unique
from django.urls import NoReverseMatch, resolve, reverse

from numflow_django import feature_urls
from numflow_django.discovery.registry import registry
from numflow_django.routing import patterns as routing
from numflow_django.routing.scan import scan

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


@pytest.mark.parametrize("append_slash", [True, False])
def test_both_forms_of_a_url(site, client, settings, append_slash):
    """A29: With APPEND_SLASH the URL without a slash redirects; without it there is no such redirect, nor a slash."""
    settings.APPEND_SLASH = append_slash
    site({"orders/@get": None})

    assert client.get("/orders").status_code == (301 if append_slash else 200)
    assert client.get("/orders/").status_code == (200 if append_slash else 404)


@pytest.mark.parametrize(
    ("features", "url", "label"),
    [
        ({"[a]/[b]/@get": None, "z/y/@get": None}, "/z/y/", "z.y.@get"),
        ({"[a]/[b]/@get": None, "z/[b]/@get": None}, "/z/y/", "z.[b].@get"),
        ({"[a]/[b]/@get": None, "[a]/y/@get": None}, "/z/y/", "[a].y.@get"),
        ({"a/[b]/@get": None, "late": "path = 'a/x/'"}, "/a/x/", "late"),
        ({"early": "path = 'a/<b>/'", "a/x/@get": None}, "/a/x/", "a.x.@get"),
        ({"early": "path = 'a/<path:b>'", "late": "path = 'a/x.json'"}, "/a/x.json", "late"),
        ({"early": "path = '/a/<b>/'", "late": "path = '/a/<int:b>/'"}, "/a/7/", "late"),
    ],
    ids=str,
)
def test_static_comes_first_at_every_depth(tree, site, features, url, label):
    """A35: Static comes before parametric at every depth, among folders and ``path`` attributes alike."""
    site(features)

    assert resolve(url).func.view_class.feature.label == f"{tree.package}.{label}"


def test_explicit_and_implicit_features_in_one_tree(site, client):
    """A29: Folders with a ``feature.py`` and folders named after methods stand in one tree, also one in the other."""
    site({"orders/@get": None, "orders": "path = 'orders/all/'", "orders/report": "pass"})

    assert registry.mistakes == []
    assert client.get("/orders/").status_code == client.get("/orders/all/").status_code == 200
    assert client.get("/orders/report/").status_code == 200


@pytest.mark.parametrize(
    ("body", "attribute", "value"),
    [
        ("queue = 'mail'", "queue", "mail"),
        ("using = 'other'", "using", "other"),
        ("atomic = False", "atomic", False),
    ],
)
def test_other_attributes_leave_the_folders_alone(tree, site, body, attribute, value):
    """A29: A ``feature.py`` that sets anything else keeps the method and the path of its folders."""
    assert site({"orders/@post": body}) == ["orders/"]

    feature = registry.find(f"{tree.package}.orders.@post")
    assert getattr(feature.declared, attribute) == value
    assert resolve("/orders/").func.view_class.method == "POST"


def test_a_base_of_the_user_s_own_may_give_the_method(tree, site, client):
    """A29: An attribute that a base class of the user's sets counts as set in ``feature.py``."""
    tree.write({"_base.py": VIEW.format("method = 'PUT'")})
    site({"orders/@post": "pass"})
    source = f"from {tree.package}._base import View as Base\n\nclass View(Base):\n    pass\n"
    tree.write({"shop/orders/@post/feature.py": source, "shop/orders/@post/steps/100_answer.py": STEP})

    [route] = scan(f"{tree.package}.shop")

    assert route.method == "PUT"


def test_a_prefix_and_ordinary_routes(site, client):
    """A33: Features may be under a prefix, beside ordinary routes of Django's."""
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
def test_each_route_has_a_name(tree, site, folder, name, kwargs, url):
    """A33: A feature's URL is reversed by its package's label as the namespace, and its folders joined by hyphens."""
    site({folder: None if "@" in folder else "pass"})

    assert reverse(f"{tree.package}:{name}", kwargs=kwargs) == url


@pytest.mark.parametrize(
    ("package", "namespace"),
    [
        ("tests.market.features", "market"),
        ("tests.market", "market"),
        ("tests.market.features.api", "market.api"),
        ("elsewhere.features", "elsewhere.features"),
    ],
)
def test_the_namespace_is_the_app_s_label(tree, package, namespace):
    """A33: The features of an app have its label as their namespace, those of a part of it have that part's, too."""
    assert routing.namespace_of(package) == namespace


def test_two_roots_have_a_namespace_each(tree, site, settings):
    """A33: Two roots of one app may hold routes of one name; each is reversed by its own namespace."""
    site({"shop/orders/@get": None, "blog/orders/@get": None})
    tree.write(
        {
            "roots.py": f"""
                from django.urls import include, path
                from numflow_django import feature_urls
                urlpatterns = [
                    path("shop/", include(feature_urls("{tree.package}.shop"))),
                    path("blog/", include(feature_urls("{tree.package}.blog"))),
                    path("old/", include(feature_urls("{tree.package}.blog"), namespace="old")),
                ]
            """
        }
    )
    settings.ROOT_URLCONF = f"{tree.package}.roots"

    assert reverse(f"{tree.package}.shop:orders-get") == "/shop/orders/"
    assert reverse(f"{tree.package}.blog:orders-get") == "/blog/orders/"
    assert reverse("old:orders-get") == "/old/orders/"


def test_patterns_without_include_have_no_namespace(tree, site, settings):
    """A33: Where the patterns stand in ``urlpatterns`` themselves, the name alone reverses them."""
    site({"orders/@get": None})
    source = f"from numflow_django import feature_urls\nurlpatterns = [*feature_urls({tree.package!r})]\n"
    tree.write({"bare.py": source})
    settings.ROOT_URLCONF = f"{tree.package}.bare"

    assert reverse("orders-get") == "/orders/"


def test_methods_that_share_a_url_have_a_name_each(tree, site):
    """A34: Every feature on a shared URL can be reversed by its own name."""
    site({"orders/@get": None, "orders/@post": None})

    assert reverse(f"{tree.package}:orders-get") == reverse(f"{tree.package}:orders-post") == "/orders/"
    with pytest.raises(NoReverseMatch):
        reverse(f"{tree.package}:orders-delete")


def test_django_s_own_url_checks_find_nothing_to_say(site):
    """A33: The patterns are ordinary ones, with which the checks of Django's own are content."""
    site({"orders/[id=int]/@get": None, "orders/@get": None, "orders/@post": None}, prefix="shop/")

    assert check_url_config(None) == check_url_namespaces_unique(None) == []


def test_tools_that_list_urls_see_what_is_there(tree, site):
    """A33: A walk of the resolver, as show_urls does it, finds for each URL a view with a name, a module and a text."""
    site({"orders/[id=int]/@get": None, "orders/@get": None, "orders/@post": None, "buy": "pass"})

    listed = {
        f"{entry.pattern} {entry.callback.__module__}.{view.__name__} {entry.name}"
        for entry in feature_urls(tree.package)
        for view in [getattr(entry.callback, "view_class", entry.callback)]
    }

    package = tree.package
    assert listed == {
        f"buy/ {package}.buy.feature.View buy",
        f"orders/ {package}.orders.Get orders-get",
        f"orders/ {package}.orders.Post orders-post",
        f"orders/<int:id>/ {package}.orders.[id=int].@get.Get orders-id-get",
    }
    shared = resolve("/orders/").func
    assert shared.__doc__ == f"One of {package}.orders.@get, {package}.orders.@post, by the method of the request."
    assert resolve("/orders/")._func_path == f"{package}.orders.@get.Get"


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
