"""Mistakes in the folders of features: each is reported with its folder and its remedy."""

import pytest
from django.urls.converters import REGISTERED_CONVERTERS, IntConverter, get_converters

from numflow_django import feature_urls
from numflow_django.discovery.registry import registry
from numflow_django.exceptions import InvalidFeatures
from numflow_django.routing.scan import scan

STEP = "def answer(ctx, request, response): response.json({})\n"
VIEW = "from numflow_django import FeatureView\n\nclass View(FeatureView):\n    {}\n"


@pytest.fixture
def mistakes(tree):
    """Write a tree of files; return its mistakes as (code, message), without the package's name and path."""

    def find(files):
        tree.write(files)
        scan(tree.package)
        return [
            (mistake.code, str(mistake).replace(f"{tree.root}/", "").replace(f"{tree.package}.", ""))
            for mistake in registry.mistakes
        ]

    return find


def feature(folder, body=None):
    """The files of one feature with one step; *body* is that of its FeatureView."""
    files = {f"{folder}/steps/100_answer.py": STEP}
    return files if body is None else files | {f"{folder}/feature.py": VIEW.format(body)}


NO_METHOD = "is not a method; use one of @get, @post, @put, @patch, @delete"
NO_PARAMETER = "is not a route parameter; write [order_id] or [order_id=int]"
TWO_VIEWS = VIEW.format("pass") + "\nclass Other(View):\n    pass\n"
TASK = "def send(ctx): pass\n"
UNCLAIMED = (
    "belongs to no feature: orders needs a feature.py with a FeatureView, or the name of its method, such as @post"
)
ONE_VIEW = "feature orders: orders/feature.py must define exactly one FeatureView subclass"
STRAY = "holds numbered modules, but only those in steps and async_tasks are run; move them into"
FIRST = "add a module such as 100_validate.py with a function validate(ctx, request)"


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        (
            feature("orders/@pots"),
            "E111",
            "feature orders.@pots: orders/@pots: '@pots' is not a method; did you mean '@post'?",
        ),
        (feature("orders/@all"), "E111", f"feature orders.@all: orders/@all: '@all' {NO_METHOD}"),
        (feature("orders/@"), "E111", f"feature orders.@: orders/@: '@' {NO_METHOD}"),
        (
            feature("orders/@get") | feature("orders/@get/[id]/@put"),
            "E111",
            "feature orders.@get.[id].@put: orders/@get/[id]/@put: the folder '@get' is a method and must be the last "
            "one; move what is in it",
        ),
        (
            feature("v1.0/orders/@get"),
            "E111",
            "v1.0: Python cannot import a folder with a dot in its name; rename it, and set path on its features",
        ),
        (
            feature("orders/@get") | {"orders.py": ""},
            "E111",
            "orders.py hides the folder orders from Python's import; rename the module, or start its name with _ if it "
            "is a helper",
        ),
        (feature("orders"), "E109", f"orders/steps {UNCLAIMED}"),
        ({"orders/steps/answer.py": STEP}, "E109", f"orders/steps {UNCLAIMED}"),
        ({"orders/async_tasks/100_send.py": TASK}, "E109", f"orders/async_tasks {UNCLAIMED}"),
        ({"orders/async_tasks/send.py": TASK}, "E109", f"orders/async_tasks {UNCLAIMED}"),
        (
            feature("orders/@post") | {"orders/async_tasks/send.py": TASK},
            "E109",
            "orders/async_tasks belongs to no feature: move it into orders/@post",
        ),
        (
            feature("orders/@get") | feature("orders/@post") | feature("orders"),
            "E109",
            "orders/steps belongs to no feature: move it into orders/@get or orders/@post",
        ),
        ({"orders/stpes/100_answer.py": STEP}, "E109", f"orders/stpes (rename it to steps) {UNCLAIMED}"),
        (
            {"post/steps/100_answer.py": STEP},
            "E109",
            "post/steps belongs to no feature: post needs a feature.py with a FeatureView, or the name of its method, "
            "such as @post",
        ),
        (
            {"orders/create/100_answer.py": STEP},
            "E109",
            "orders/create holds numbered modules and is neither the steps nor the async_tasks of a feature; move them "
            "into orders/create/steps, or start their names with _ if they are helpers",
        ),
        (
            feature("orders", "pass") | {"orders/asyc_tasks/100_send.py": TASK},
            "E109",
            "feature orders: orders/asyc_tasks: did you mean 'async_tasks'? Rename the folder, otherwise its tasks "
            "never run",
        ),
        (
            {"orders/@post/stpes/100_answer.py": STEP},
            "E101",
            "feature orders.@post: orders/@post/stpes: did you mean 'steps'? Rename the folder",
        ),
        (
            feature("orders", "pass") | {"orders/stpes/200_more.py": STEP},
            "E109",
            f"feature orders: orders/stpes {STRAY} steps",
        ),
        (
            feature("orders", "pass") | {"orders/jobs/100_send.py": TASK},
            "E109",
            f"feature orders: orders/jobs {STRAY} steps or async_tasks",
        ),
        (
            feature("orders/@get") | {"orders/@get/200_more.py": STEP},
            "E109",
            f"feature orders.@get: orders/@get {STRAY} steps or async_tasks",
        ),
        (
            {"orders/@get/100_answer.py": STEP},
            "E101",
            "feature orders.@get: its numbered modules are in orders/@get itself; move the steps into "
            "orders/@get/steps",
        ),
        (
            {"orders/100_answer.py": STEP, "orders/feature.py": VIEW.format("pass")},
            "E101",
            "feature orders: its numbered modules are in orders itself; move the steps into orders/steps",
        ),
        (
            feature("orders", "steps = 'tests.market.features.buy.steps'") | {"orders/200_more.py": STEP},
            "E109",
            f"feature orders: orders {STRAY} steps or async_tasks",
        ),
        (
            feature("orders") | {"orders/features.py": VIEW.format("pass")},
            "E109",
            "orders/steps belongs to no feature: did you mean feature.py by orders/features.py? Rename it",
        ),
        (
            feature("orders") | {"orders/Feature.py": VIEW.format("pass")},
            "E109",
            "orders/steps belongs to no feature: did you mean feature.py by orders/Feature.py? Rename it",
        ),
        (
            feature("orders") | {"orders/index.py": VIEW.format("pass")},
            "E109",
            "orders/steps belongs to no feature: did you mean feature.py by orders/index.py? Rename it",
        ),
        *(
            (
                feature("orders/@get") | {f"orders/@get/{name}": VIEW.format("pass")},
                "E109",
                f"feature orders.@get: orders/@get/{shown} would be ignored; did you mean feature.py? Rename it, or "
                "start its name with _ if it is a helper",
            )
            for name, shown in {
                **{
                    name: name
                    for name in ("index.py", "features.py", "Feature.py", "feature.PY", "featrue.py", "feature")
                },
                "feature/__init__.py": "feature/",
            }.items()
        ),
        (
            feature("orders/@get") | {"orders/@get/__init__.py": VIEW.format("decorators = []")},
            "E109",
            "feature orders.@get: orders/@get/__init__.py defines View, which would be ignored; move it into a "
            "feature.py beside it",
        ),
        *(
            (
                feature("orders", "pass") | {f"orders/{name}/send.py": TASK},
                "E109",
                f"feature orders: orders/{name}: did you mean 'async_tasks'? Rename the folder, otherwise its tasks "
                "never run; start its name with _ if it holds helpers",
            )
            for name in ("tasks", "task", "Tasks", "background_tasks")
        ),
        (
            feature("orders/@get") | {"orders/@get/tasks/100_send.py": TASK},
            "E109",
            "feature orders.@get: orders/@get/tasks: did you mean 'async_tasks'? Rename the folder, otherwise its "
            "tasks never run; start its name with _ if it holds helpers",
        ),
        (
            feature("orders/@options"),
            "E111",
            "feature orders.@options: orders/@options: '@options' is not a method; a URL answers HEAD and OPTIONS by "
            "itself: remove the folder",
        ),
        (
            feature("orders") | {"orders/feature.py": "class View: pass"},
            "E109",
            f"{ONE_VIEW}; it defines none; write class CreateOrder(FeatureView): ...",
        ),
        (
            feature("orders") | {"orders/feature.py": "from numflow_django import FeatureView"},
            "E109",
            f"{ONE_VIEW}; it defines none; write class CreateOrder(FeatureView): ...",
        ),
        (
            feature("orders") | {"orders/feature.py": TWO_VIEWS},
            "E109",
            f"{ONE_VIEW}; it defines Other and View; move all but one into another module",
        ),
        (
            feature("orders") | {"orders/feature.py": "import json\nimport no_such_package"},
            "E107",
            "feature orders: the import of 'orders.feature' failed: ModuleNotFoundError: No module named "
            "'no_such_package' (orders/feature.py, line 2)",
        ),
        (
            feature("orders/@get") | {"orders/__init__.py": "1 / 0"},
            "E107",
            "feature orders.@get: the import of 'orders.@get' failed: ZeroDivisionError: division by zero "
            "(orders/__init__.py, line 1)",
        ),
        (
            {"orders/@get/__init__.py": ""},
            "E101",
            f"feature orders.@get: its steps, orders/@get/steps, do not exist; {FIRST}",
        ),
        (
            {"orders/feature.py": VIEW.format("pass")},
            "E101",
            f"feature orders: its steps, orders/steps, do not exist; {FIRST}",
        ),
        (
            {"orders/@get/steps.py": STEP},
            "E108",
            "feature orders.@get: orders/@get/steps.py is a module; make it a folder, steps/, and move its code into "
            "modules",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_shown_with_its_folder_and_its_remedy(mistakes, files, code, message):
    """A4, A29, A30, E3: A folder that is no feature or no route, as it is written, is one mistake with a remedy."""
    assert mistakes(files) == [(f"numflow.{code}", message)]


@pytest.mark.parametrize(
    "files",
    [
        feature("tasks/@get"),
        feature("orders", "pass") | feature("orders/tasks/@get"),
        feature("orders", "pass") | feature("orders/tasks/list", "pass"),
        feature("orders", "pass") | {"orders/_tasks/send.py": TASK},
        feature("orders", "pass") | {"orders/tasks/notes.txt": ""},
        feature("orders", "pass") | {"orders/index.py": "", "orders/features.py": ""},
        feature("orders/@get") | {"orders/@get/_index.py": "", "orders/@get/future.py": "", "orders/@get/views.py": ""},
        feature("orders/@get") | {"orders/@get/__init__.py": "from numflow_django import FeatureView"},
        feature("orders/@get", "pass") | {"orders/@get/__init__.py": VIEW.format("pass")},
    ],
)
def test_what_only_resembles_a_part_of_a_feature(mistakes, files):
    """E3: A resource named "tasks", helpers, and what lies beside a ``feature.py`` are no mistake."""
    assert mistakes(files) == []


def test_a_feature_with_a_file_that_would_be_ignored_answers_no_request(tree, rf, monkeypatch):
    """E3: A feature whose ``index.py`` was meant to protect it is not left open: it answers nothing."""
    monkeypatch.setattr(registry, "checks_will_report", True)
    tree.write(feature("orders/@get") | {"orders/@get/index.py": VIEW.format("decorators = [print]")})
    [pattern] = feature_urls(tree.package)

    with pytest.raises(InvalidFeatures, match=r"index\.py would be ignored; did you mean feature\.py"):
        pattern.callback(rf.get("/orders/"))


def test_an_app_in_the_place_of_its_features(tree, settings):
    """A4: ``feature_urls("shop")`` for an app with a package of features is one mistake, which names that package."""
    tree.write(
        {
            "__init__.py": "",
            "apps.py": f"from django.apps import AppConfig\n\nclass Shop(AppConfig):\n    name = {tree.package!r}\n",
            "migrations/0001_initial.py": "",
            "features/buy/steps/100_answer.py": STEP,
            "features/buy/feature.py": VIEW.format("pass"),
        }
    )
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, tree.package]

    with pytest.raises(InvalidFeatures) as caught:
        feature_urls(tree.package)

    [mistake] = caught.value.errors
    assert str(mistake) == (
        f"the package {tree.package!r}, named by feature_urls() or NUMFLOW['FEATURES'], is an app, and its features "
        f"lie in {tree.root}/features; did you mean '{tree.package}.features'?"
    )


def test_the_migrations_of_an_app_are_no_stray_steps(tree, settings):
    """A4: In an app that is a package of features itself, Django's migrations are left alone."""
    tree.write({"__init__.py": "", "migrations/0001_initial.py": "", **feature("buy", "pass")})
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, tree.package]

    assert [str(pattern.pattern) for pattern in feature_urls(tree.package)] == ["buy/"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("[id", "did you mean [id]?"),
        ("id]", "did you mean [id]?"),
        ("[id:int]", "did you mean [id=int]?"),
        ("[int:id]", "did you mean [id=int]?"),
        ("<int:id>", "did you mean [id=int]?"),
        ("[[slug]]", "did you mean [slug]?"),
        ("{id}", "did you mean [id]?"),
        (":id", "did you mean [id]?"),
        *((name, "write [order_id] or [order_id=int]") for name in ("[]", "[2nd]", "[a=b=c]", "no-[id]", "[id]v2")),
    ],
)
def test_a_folder_that_is_no_good_parameter(mistakes, name, remedy):
    """A31: A folder's name with a bracket that is no parameter is an error with the one that was meant."""
    place = f"orders/{name}/@get"

    assert mistakes(feature(place)) == [
        (
            "numflow.E111",
            f"feature {place.replace('/', '.')}: {place}: the folder {name!r} is not a route parameter; {remedy}",
        )
    ]


def test_a_catch_all_of_another_framework(mistakes):
    """A31: The error for ``[...slug]``, which Python cannot import, names the parameter that was meant."""
    assert mistakes(feature("pages/[...slug]/@get")) == [
        ("numflow.E111", "the folder pages/[...slug] is not a route parameter; did you mean [slug=path]?")
    ]


FOREIGN = "is not in Django's syntax"
CUT = "contains '?' or '#', which no path of a URL can contain"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("api/orders/[id=int]/", f"{FOREIGN}; write path = 'api/orders/<int:id>/'"),
        ("users/[id]/", f"{FOREIGN}; write path = 'users/<str:id>/'"),
        ("users/[[...rest]]/", f"{FOREIGN}; write path = 'users/<path:rest>/'"),
        ("/users/:id", f"{FOREIGN}; write path = '/users/<str:id>'"),
        (":id", f"{FOREIGN}; write path = '<str:id>'"),
        (r"users/:id(\d+)/:tab?", f"{FOREIGN}; write path = 'users/<int:id>/<str:tab>'"),
        ("users/{id}/", f"{FOREIGN}; write path = 'users/<str:id>/'"),
        ("users/{int:id}.json", f"{FOREIGN}; write path = 'users/<int:id>.json'"),
        ("files/{where:path}", f"{FOREIGN}; write path = 'files/<path:where>'"),
        ("users/(?P<id>[0-9]+)/", f"{FOREIGN}; write path = 'users/<int:id>/'"),
        (r"^users/(?P<name>[\w-]+)/?$", f"{FOREIGN}; write path = 'users/<slug:name>/'"),
        ("^users/$", f"{FOREIGN}; write path = 'users/'"),
        ("caf%C3%A9/", f"{FOREIGN}; write path = 'café/'"),
        ("users/?page=1", f"{CUT}; write path = 'users/'"),
        ("users/#top", f"{CUT}; write path = 'users/'"),
        *(
            (
                path,
                f"{FOREIGN}, so that no URL matches it; write a parameter as in 'api/orders/<int:id>/'",
            )
            for path in ("users/<id/", "users/id>/", "users/[a b]/", "files/*", "users/\\d+/")
        ),
    ],
)
def test_a_path_in_the_syntax_of_another_framework(mistakes, path, problem):
    """E2: A ``path`` that Django would take literally is a mistake that shows it in Django's syntax."""
    assert mistakes(feature("users", f"path = {path!r}")) == [
        ("numflow.E111", f"feature users: users: path = {path!r} {problem}")
    ]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "a/",
        "a/<id>/",
        "a/<uuid:id>.json",
        "a:batch/",
        "검증/",
        "a/(b)/",
        "a+b/",
        "~me/",
        "a/b*/",
        "5%/",
        "a/<id>:cancel/",
        "a/<id>*",
    ],
)
def test_a_path_that_django_can_match(mistakes, path):
    """E2: What only resembles another syntax is a good path."""
    assert mistakes(feature("users", f"path = {path!r}")) == []


def test_a_view_whose_path_is_a_slip_answers_no_request(tree, monkeypatch):
    """E2: A feature whose ``path`` is a mistake has no URL, not even a literal one."""
    monkeypatch.setattr(registry, "checks_will_report", True)
    tree.write(feature("users", "path = 'users/{id}/'") | feature("orders/@get"))

    assert [str(pattern.pattern) for pattern in feature_urls(tree.package)] == ["orders/"]


@pytest.mark.parametrize("name", ["page?", "a#b"])
def test_a_folder_whose_name_no_url_holds(mistakes, name):
    """E2: A folder with a question mark or a number sign in its name is a route that no URL matches."""
    assert mistakes(feature(f"{name}/@get")) == [
        (
            "numflow.E111",
            f"feature {name}.@get: {name}/@get: the folder {name!r} contains '?' or '#', which no path of "
            "a URL can contain; rename it",
        )
    ]


def test_steps_in_the_root_need_a_feature(tree, mistakes):
    """A4: Numbered steps right in the package of features are a mistake, and not passed over."""
    [(code, message)] = mistakes({"steps/100_answer.py": STEP})

    assert code == "numflow.E109"
    assert message.startswith(f"steps belongs to no feature: {tree.root} needs a feature.py with a FeatureView")


def test_an_alias_is_no_second_feature(mistakes):
    """A ``feature.py`` may give its FeatureView a second name, and import others as bases."""
    alias = VIEW.format("pass") + "Alias = View\n"

    assert mistakes(feature("orders") | {"orders/feature.py": alias}) == []


SAME_PLACE = "change the path or the method of one of them"


@pytest.mark.parametrize(
    ("files", "method", "route", "first", "second"),
    [
        (feature("a/@get") | feature("b", "path = 'a/'; method = 'GET'"), "GET", "a/", "a.@get", "b"),
        (feature("b", "path = 'a/'; method = 'get'") | feature("a/@get"), "GET", "a/", "a.@get", "b"),
        (feature("a/@get") | feature("b", "path = '/a/'; method = 'GET'"), "GET", "a/", "a.@get", "b"),
        (feature("a/@put") | feature("b", "path = 'a/'"), "PUT", "a/", "a.@put", "b"),
        (feature("a", "path = 'x/'") | feature("b", "path = 'x/'"), "GET", "x/", "a", "b"),
        (feature("@get") | feature("b", "path = ''; method = 'GET'"), "GET", "", "@get", "b"),
        (
            feature("a/[id]/@get") | feature("b", "path = 'a/<id>/'; method = 'GET'"),
            *("GET", "a/<str:id>/", "a.[id].@get", "b"),
        ),
        (
            feature("a/[id]/@get") | feature("b", "path = 'a/<pk>/'; method = 'GET'"),
            *("GET", "a/<str:pk>/", "a.[id].@get", "b"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_same_method_and_path_twice(mistakes, files, method, route, first, second):
    """A34: The same METHOD and path twice is a mistake that names both folders."""
    assert mistakes(files) == [
        (
            "numflow.E112",
            f"{method} /{route} is answered by two features: {first} ({first.replace('.', '/')}) and {second} "
            f"({second}); {SAME_PLACE}",
        )
    ]


def test_one_method_twice_in_one_place_of_two_names(mistakes):
    """A34: ``[id]`` and ``[pk]`` in one place count as the same path, and are one mistake."""
    assert mistakes(feature("a/[id]/@get") | feature("a/[pk]/@get")) == [
        (
            "numflow.E112",
            "GET /a/<str:pk>/ is answered by two features: a.[id].@get (a/[id]/@get) and a.[pk].@get (a/[pk]/@get); "
            f"{SAME_PLACE}",
        )
    ]


def test_two_names_for_one_parameter(mistakes):
    """A34: Two methods of one URL whose parameter they call ``[id]`` and ``[pk]`` are a mistake that names both."""
    assert mistakes(feature("a/[id]/@get") | feature("a/[pk]/@put")) == [
        (
            "numflow.E111",
            "/a/<str:id>/ (a/[id]/@get) and /a/<str:pk>/ (a/[pk]/@put) have different names for one parameter; "
            "use one name",
        )
    ]


@pytest.mark.parametrize(
    "files",
    [
        feature("a/[id=int]/@get") | feature("a/[id]/@get"),
        feature("a/[id=int]/@get") | feature("a/[slug]/@put"),
        feature("a/[id=int]/@get") | feature("a/[id=int]/@put") | feature("a/[id]/@get") | feature("a/[id]/@put"),
    ],
)
def test_two_converters_are_two_places(mistakes, files):
    """A31: ``[id=int]`` and ``[id]`` are two routes, of which the narrower is tried first."""
    assert mistakes(files) == []


def test_a_converter_that_one_method_lacks(mistakes):
    """A34: ``[id=int]/@get`` beside ``[id]/@delete`` is a mistake: DELETE of a number would find GET's URL only."""
    assert mistakes(feature("a/[id=int]/@get") | feature("a/[id]/@delete")) == [
        (
            "numflow.E111",
            "/a/<int:id>/ (a/[id=int]/@get) and /a/<str:id>/ (a/[id]/@delete) accept different methods, and a URL "
            "reaches only one of them; use one converter",
        )
    ]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            feature("a/[id=integer]/@get"),
            "a/[id=integer]/@get: its path is 'a/<integer:id>/': 'integer' is not a path converter; did "
            "you mean 'int'?",
        ),
        (
            feature("a/[id=decimal]/@get"),
            "a/[id=decimal]/@get: its path is 'a/<decimal:id>/': 'decimal' is not a path converter; use one of int, ",
        ),
        (
            feature("a/[id]/[id]/@get"),
            "a/[id]/[id]/@get: its path is 'a/<str:id>/<str:id>/': it has the parameter 'id' twice; rename one of them",
        ),
        (
            feature("a/[request]/@get"),
            "a/[request]/@get: its path is 'a/<str:request>/': it has the parameter 'request', which Django itself "
            "hands to every view; rename it, such as request_id",
        ),
        (feature("a", "path = 'x/<id:int>/'"), "'id' is not a path converter; did you mean <int:id>?"),
        (feature("a", "path = 'x/<self>/'"), "it has the parameter 'self', which Django itself hands to every view; "),
        (feature("a", "path = 'x/<int: id>/'"), "a: its path is 'x/<int: id>/': URL route 'x/<int: id>/' "),
        (feature("a", "path = 'x/<int:2d>/'"), "a: its path is 'x/<int:2d>/': URL route 'x/<int:2d>/' uses parameter"),
    ],
    ids=["converter", "unlike", "twice", "request", "swapped", "self", "space", "name"],
)
def test_a_route_that_django_refuses(tree, files, problem):
    """A31: A route whose converter is unknown, or whose parameter is repeated or reserved, is one mistake."""
    tree.write(files)

    for _ in range(2):
        with pytest.raises(InvalidFeatures, match="1 mistake in the features"):
            feature_urls(tree.package)

    [mistake] = registry.mistakes
    assert mistake.code == "numflow.E111"
    assert problem in str(mistake)


def test_a_converter_of_the_site_s_own(tree, monkeypatch):
    """A31: Every registered path converter may stand in a folder's name."""
    monkeypatch.setitem(REGISTERED_CONVERTERS, "year", IntConverter())
    get_converters.cache_clear()
    tree.write(feature("a/[y=year]/@get"))

    assert [str(pattern.pattern) for pattern in feature_urls(tree.package)] == ["a/<year:y>/"]

    get_converters.cache_clear()


@pytest.mark.parametrize(
    ("files", "first", "second"),
    [
        (feature("a/@post") | feature("a/post", "pass"), "/a/ ({}/a/@post)", "/a/post/ ({}/a/post)"),
        (feature("a/b/@get") | feature("a-b/@get"), "/a/b/ ({}/a/b/@get)", "/a-b/ ({}/a-b/@get)"),
    ],
)
def test_two_urls_of_one_name(tree, files, first, second):
    """Two features whose URLs would have one name are a mistake, since ``reverse()`` would silently take one."""
    tree.write(files)

    with pytest.raises(InvalidFeatures) as caught:
        feature_urls(tree.package)

    [mistake] = caught.value.errors
    assert mistake.code == "numflow.E113"
    assert str(mistake).endswith(
        f": {first.format(tree.root)} and {second.format(tree.root)}; rename one of the folders"
    )


@pytest.mark.parametrize("package", [5, None, pytest], ids=["number", "nothing", "module"])
def test_what_is_no_name_of_a_package(package):
    """``feature_urls`` takes a dotted name; the error for anything else says what to write."""
    with pytest.raises(TypeError, match=r"give the dotted name of a package, such as 'shop\.features'"):
        feature_urls(package)


def test_a_mistake_in_a_package_that_is_scanned_twice(tree):
    """A4: A package that is scanned by itself and as a part of another one reports its mistakes once."""
    tree.write(feature("shop/@pots") | feature("shop/@get"))
    scan(tree.package)

    scan(f"{tree.package}.shop")

    assert len(registry.mistakes) == 1


def test_a_missing_package(tree):
    """A4: A package of features that does not exist is a mistake, and no silent empty site."""
    with pytest.raises(InvalidFeatures) as caught:
        feature_urls(f"{tree.package}.none")

    assert str(caught.value) == (
        "1 mistake in the features:\n"
        f"(numflow.E108) the package '{tree.package}.none' of features, named by feature_urls() or "
        "NUMFLOW['FEATURES'], does not exist; create the folder"
    )


def test_a_missing_package_beside_features(tree):
    """A4: A package that does not exist, with features where it should be, is a mistake that says which to move."""
    tree.write(feature("shop/buy", "pass") | feature("shop/api/@get") | {"shop/views.py": "", "shop/lib/a.py": ""})

    with pytest.raises(InvalidFeatures, match="does not exist; create the folder, and move ") as caught:
        feature_urls(f"{tree.package}.shop.features")

    assert str(caught.value).endswith(f"and move {tree.root}/shop/api, {tree.root}/shop/buy into it")


def test_a_package_that_is_misspelt(tree):
    """A4: The error for a misspelt package of features names the one that was meant."""
    tree.write(feature("features/@get"))

    with pytest.raises(InvalidFeatures, match="does not exist; did you mean 'features'"):
        feature_urls(f"{tree.package}.feature")


def test_a_module_in_the_place_of_the_package(tree):
    """A4: ``features.py`` instead of a folder is a mistake that says so."""
    tree.write({"features.py": ""})

    with pytest.raises(InvalidFeatures, match=r"features\.py is a module; make it a folder, features/"):
        feature_urls(f"{tree.package}.features")


def test_a_package_whose_import_fails(tree):
    """A4: A package of features whose import fails is reported with the error and its line, not as missing."""
    tree.write({"shop/__init__.py": "import json\nimport no_such_package"})

    with pytest.raises(InvalidFeatures, match=r"No module named 'no_such_package' \(.*shop/__init__\.py, line 2\)"):
        feature_urls(f"{tree.package}.shop")


def test_the_checks_may_show_the_mistakes(tree, monkeypatch):
    """A4: In a management command, whose checks show all mistakes, the URLconf can be loaded in spite of them."""
    tree.write(feature("a/[id=integer]/@get") | feature("b/@pots") | feature("c/@get"))
    monkeypatch.setattr(registry, "checks_will_report", True)

    patterns = feature_urls(tree.package)

    assert str(patterns[-1].pattern) == "c/"
    assert sorted(mistake.code for mistake in registry.mistakes) == ["numflow.E111", "numflow.E111"]


def test_mistakes_of_several_features_are_reported_at_once(mistakes):
    """A4: One feature's mistake hides no other feature's."""
    found = mistakes(
        feature("a/@pots")
        | feature("b")
        | {"c/@get/steps/validate.py": ""}
        | {"d/feature.py": "1 / 0"}
        | feature("e", "queue = 'unknown'")
        | feature("f/@get")
        | feature("g", "path = 'f/'")
    )

    assert sorted(code[-4:] for code, _ in found) == ["E102", "E107", "E109", "E109", "E111", "E112"]
