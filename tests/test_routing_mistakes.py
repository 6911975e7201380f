"""Mistakes in the folders of features: each is told with its folder and its remedy."""

import pytest

from numflow_django import feature_urls
from numflow_django.exceptions import InvalidFeatures
from numflow_django.folders import scan
from numflow_django.registry import registry

STEP = "def answer(ctx, request, response): response.json({})\n"
VIEW = "from numflow_django import FeatureView\n\nclass View(FeatureView):\n    {}\n"


@pytest.fixture
def mistakes(tree):
    """Write a tree of files; give its mistakes as (code, message), without the package's name and path."""

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


NO_METHOD = "is no method; use one of @get, @post, @put, @patch, @delete"
NO_PARAMETER = "is no route parameter; write [order_id] or [order_id=int]"
TWO_VIEWS = VIEW.format("pass") + "\nclass Other(View):\n    pass\n"


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        (feature("orders/@pots"), "E111", f"feature orders.@pots: orders/@pots: '@pots' {NO_METHOD}"),
        (feature("orders/@head"), "E111", f"feature orders.@head: orders/@head: '@head' {NO_METHOD}"),
        (feature("orders/@"), "E111", f"feature orders.@: orders/@: '@' {NO_METHOD}"),
        (feature("orders/[id/@get"), "E111", f"feature orders.[id.@get: the folder '[id' {NO_PARAMETER}"),
        (feature("orders/id]/@get"), "E111", f"feature orders.id].@get: the folder 'id]' {NO_PARAMETER}"),
        (feature("orders/[]/@get"), "E111", f"feature orders.[].@get: the folder '[]' {NO_PARAMETER}"),
        (feature("orders/[2nd]/@get"), "E111", f"feature orders.[2nd].@get: the folder '[2nd]' {NO_PARAMETER}"),
        (
            feature("orders/[id:int]/@get"),
            "E111",
            f"feature orders.[id:int].@get: the folder '[id:int]' {NO_PARAMETER}",
        ),
        (feature("orders/no-[id]/@get"), "E111", f"feature orders.no-[id].@get: the folder 'no-[id]' {NO_PARAMETER}"),
        (
            feature("orders/@get") | feature("orders/@get/[id]/@put"),
            "E111",
            "feature orders.@get.[id].@put: the folder '@get' is a method and must be the last one; move what is in it",
        ),
        (
            feature("v1.0/orders/@get"),
            "E111",
            "v1.0: Python cannot import a folder with a dot in its name; rename it, and set path on its features",
        ),
        (
            feature("orders"),
            "E109",
            "orders holds steps but is no feature; add a feature.py with a FeatureView, or name the folder after its "
            "method, such as @post",
        ),
        (
            {"orders/steps/answer.py": STEP},
            "E109",
            "orders holds steps but is no feature; add a feature.py with a FeatureView, or name the folder after its "
            "method, such as @post",
        ),
        (
            {"orders/async_tasks/100_send.py": "def send(ctx): pass"},
            "E109",
            "orders holds steps but is no feature; add a feature.py with a FeatureView, or name the folder after its "
            "method, such as @post",
        ),
        (
            feature("orders", "pass") | {"orders/async_task/100_send.py": "def send(ctx): pass"},
            "E109",
            "feature orders: orders/async_task holds numbered modules, but only those in steps and async_tasks are "
            "run; rename the folder, or move them",
        ),
        (
            feature("orders/@get") | {"orders/@get/200_more.py": STEP},
            "E109",
            "feature orders.@get: orders/@get holds numbered modules, but only those in steps and async_tasks are run; "
            "rename the folder, or move them",
        ),
        (
            feature("orders") | {"orders/feature.py": "class View: pass"},
            "E109",
            "feature orders: orders/feature.py must define exactly one FeatureView subclass; it defines none",
        ),
        (
            feature("orders") | {"orders/feature.py": "from numflow_django import FeatureView"},
            "E109",
            "feature orders: orders/feature.py must define exactly one FeatureView subclass; it defines none",
        ),
        (
            feature("orders") | {"orders/feature.py": TWO_VIEWS},
            "E109",
            "feature orders: orders/feature.py must define exactly one FeatureView subclass; it defines Other, View: "
            "import all but one from elsewhere",
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
            "feature orders.@get: the import of 'orders.@get.feature' failed: ZeroDivisionError: division by zero "
            "(orders/__init__.py, line 1)",
        ),
        (
            {"orders/@get/__init__.py": ""},
            "E101",
            "feature orders.@get: the package 'orders.@get.steps' does not exist; add a module such as "
            "steps/100_validate.py with a function validate(ctx, request)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_with_its_folder_and_its_remedy(mistakes, files, code, message):
    """A4, A30, A31: A folder that is no feature or no route, as it is written, is one mistake with a remedy."""
    assert mistakes(files) == [(f"numflow.{code}", message)]


def test_steps_in_the_root_need_a_feature(tree, mistakes):
    """A4: Numbered steps right in the package of features are a mistake, and not passed over."""
    [(code, message)] = mistakes({"steps/100_answer.py": STEP})

    assert code == "numflow.E109"
    assert message.startswith(f"{tree.root} holds steps but is no feature; add a feature.py")


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
        (feature("a/@get") | feature("a/@GET"), "GET", "a/", "a.@GET", "a.@get"),
        (feature("a/@put") | feature("b", "path = 'a/'"), "PUT", "a/", "a.@put", "b"),
        (feature("a", "path = 'x/'") | feature("b", "path = 'x/'"), "GET", "x/", "a", "b"),
        (feature("@get") | feature("b", "path = ''; method = 'GET'"), "GET", "/", "@get", "b"),
        (
            feature("a/[id]/@get") | feature("b", "path = 'a/<id>/'; method = 'GET'"),
            *("GET", "a/<str:id>/", "a.[id].@get", "b"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_same_method_and_path_twice(mistakes, files, method, route, first, second):
    """A34: The same METHOD and path twice is a mistake that names both folders."""
    assert mistakes(files) == [
        (
            "numflow.E112",
            f"{method} {route} is answered by two features: {first} ({first}) and {second} ({second}); {SAME_PLACE}",
        )
    ]


def test_two_names_for_one_parameter(mistakes):
    """A34: ``[id]`` and ``[pk]`` in one place are a mistake that names both, and count as the same path."""
    found = mistakes(feature("a/[id]/@get") | feature("a/[pk]/@get"))

    assert found == [
        (
            "numflow.E111",
            "a/<str:id>/ (a.[id].@get) and a/<str:pk>/ (a.[pk].@get) are one place with two names for its parameter; "
            "use one name",
        ),
        (
            "numflow.E112",
            "GET a/<str:pk>/ is answered by two features: a.[id].@get (a.[id].@get) and a.[pk].@get (a.[pk].@get); "
            f"{SAME_PLACE}",
        ),
    ]


def test_two_converters_are_two_places(mistakes):
    """A31: ``[id=int]`` and ``[id]`` are two routes, of which the narrower is tried first."""
    assert mistakes(feature("a/[id=int]/@get") | feature("a/[id]/@get")) == []


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            feature("a/[id=integer]/@get"),
            "path = 'a/<integer:id>/': URL route 'a/<integer:id>/' uses invalid converter",
        ),
        (feature("a/[id]/[id]/@get"), "path = 'a/<str:id>/<str:id>/': redefinition of group name 'id'"),
        (feature("a", "path = 'x/<int: id>/'"), "path = 'x/<int: id>/': URL route"),
    ],
    ids=["converter", "twice", "space"],
)
def test_a_route_that_django_refuses(tree, files, problem):
    """A31: A route with an unknown converter or a parameter twice is a mistake that is told once."""
    tree.write(files)

    for _ in range(2):
        with pytest.raises(InvalidFeatures, match="1 mistake in the features"):
            feature_urls(tree.package)

    [mistake] = registry.mistakes
    assert mistake.code == "numflow.E111"
    assert problem in str(mistake)


def test_a_missing_package(tree):
    """A4: A package of features that does not exist is a mistake, and no silent empty site."""
    with pytest.raises(InvalidFeatures) as caught:
        feature_urls(f"{tree.package}.none")

    assert str(caught.value) == (
        "1 mistake in the features:\n"
        f"(numflow.E108) the package '{tree.package}.none' of features does not exist; create the folder"
    )


def test_a_module_in_the_place_of_the_package(tree):
    """A4: ``features.py`` instead of a folder is a mistake that says so."""
    tree.write({"features.py": ""})

    with pytest.raises(InvalidFeatures, match=r"features' is a module \(.*features\.py\); make it a folder of modules"):
        feature_urls(f"{tree.package}.features")


def test_a_package_whose_import_fails(tree):
    """A4: A package of features whose import fails is told with the error and its line, not as missing."""
    tree.write({"shop/__init__.py": "import json\nimport no_such_package"})

    with pytest.raises(InvalidFeatures, match=r"No module named 'no_such_package' \(.*shop/__init__\.py, line 2\)"):
        feature_urls(f"{tree.package}.shop")


def test_the_checks_may_show_the_mistakes(tree, monkeypatch):
    """A4: In a management command, whose checks show all mistakes, the URLconf can be loaded in spite of them."""
    tree.write(feature("a/[id=integer]/@get") | feature("b/@pots") | feature("c/@get"))
    monkeypatch.setattr(registry, "checks_follow", True)

    patterns = feature_urls(tree.package)

    assert str(patterns[-1].pattern) == "c/"
    assert sorted(mistake.code for mistake in registry.mistakes) == ["numflow.E111", "numflow.E111"]


def test_mistakes_of_several_features_are_told_at_once(mistakes):
    """A4: One feature's mistake hides no other feature's."""
    found = mistakes(
        feature("a/@pots")
        | feature("b")
        | {"c/@get/steps/validate.py": ""}
        | {"d/feature.py": "1 / 0"}
        | feature("e", "queue = 'nobody'")
        | feature("f/@get")
        | feature("g", "path = 'f/'")
    )

    assert sorted(code[-4:] for code, _ in found) == ["E102", "E107", "E109", "E109", "E111", "E112"]
