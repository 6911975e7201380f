"""``manage.py startfeature``: what it writes, prints and refuses."""

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from numflow_django.scaffold.writer import Creation

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(app, monkeypatch):
    """Make the project the working directory."""
    monkeypatch.chdir(Path(app.path).parent)


@pytest.fixture
def start(app):
    """Return a function that runs the command for a feature of the app and returns its output."""

    def run(feature, *options):
        out = StringIO()
        call_command("startfeature", f"{app.label}/{feature}", *options, stdout=out, no_color=True)
        return out.getvalue()

    return run


@pytest.fixture
def files(app):
    """Return the app's files: relative path -> text."""

    def read():
        paths = [path for path in Path(app.path).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        return {str(path.relative_to(app.path)): path.read_text(encoding="utf-8") for path in sorted(paths)}

    return read


def routed(app, settings, prefix):
    """Include the app's features in the URLconf, under *prefix*."""
    Path(app.path, "urls.py").write_text(
        "from django.urls import include, path\nfrom numflow_django import feature_urls\n"
        f'urlpatterns = [path("{prefix}", include(feature_urls("{app.name}.features")))]\n'
    )
    settings.ROOT_URLCONF = f"{app.name}.urls"


def test_an_explicit_feature(start, files, app):
    """A name without @ becomes a folder with a FeatureView, three steps and a task, and a test beside tests.py."""
    printed = start("create_order")

    assert set(files()) - {"__init__.py", "tests.py"} == {
        "features/create_order/feature.py",
        "features/create_order/steps/100_validate.py",
        "features/create_order/steps/200_create_order.py",
        "features/create_order/steps/300_respond.py",
        "features/create_order/async_tasks/100_notify.py",
        "test_create_order.py",
    }
    assert "class CreateOrder(FeatureView):\n" in files()["features/create_order/feature.py"]
    assert '    path = "create_order/"\n    method = "POST"\n' in files()["features/create_order/feature.py"]
    assert printed.startswith(
        f"Written:\n  {app.label}/\n    features/\n      create_order/\n        feature.py\n        steps/\n"
    )


def test_an_implicit_get_needs_no_feature_file(start, files):
    """A folder for GET gets only steps: no feature.py, and no async task, because nothing has changed."""
    start("api/orders/[order_id=int]/@get")

    folder = "features/api/orders/[order_id=int]/@get"
    assert set(files()) - {"__init__.py", "tests.py"} == {
        f"{folder}/steps/100_find.py",
        f"{folder}/steps/200_respond.py",
        "test_api_orders_order_id_get.py",
    }
    assert '"order_id": request.params["order_id"]' in files()[f"{folder}/steps/100_find.py"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_an_implicit_feature_that_writes_is_open_to_clients_without_cookies(start, files, method):
    """Its feature.py has only csrf_exempt; the folders define method and path."""
    start(f"orders/@{method}")

    assert files()[f"features/orders/@{method}/feature.py"] == (
        "from django.views.decorators.csrf import csrf_exempt\n"
        "from numflow_django import FeatureView\n\n\n"
        f"class {method.title()}Orders(FeatureView):\n"
        "    # For clients without cookies; remove it if browsers with a session call this\n"
        "    decorators = (csrf_exempt,)\n"
    )


def test_the_test_goes_to_the_package_of_tests(start, files, app):
    """If the app has a package ``tests``, the test is in it, and the printed command names it."""
    Path(app.path, "tests.py").unlink()
    Path(app.path, "tests").mkdir()
    Path(app.path, "tests/__init__.py").touch()

    printed = start("create_order")

    assert "tests/test_create_order.py" in files()
    assert f"python manage.py test {app.label}.tests.test_create_order\n" in printed


def test_options(start, files):
    """``--path``, ``--method`` and ``--no-task`` work as documented."""
    start("buy", "--path", "/api/orders/<int:pk>/", "--method", "put", "--no-task")

    assert '    path = "api/orders/<int:pk>/"\n    method = "PUT"\n' in files()["features/buy/feature.py"]
    assert 'URL = "/api/orders/1/"\n' in files()["test_buy.py"]
    assert not any("async_tasks" in name for name in files())
    assert "run_pending" not in files()["test_buy.py"]


@pytest.mark.parametrize(("folder", "step"), [("import", "create"), ("validate", "create"), ("2fa", "create")])
def test_a_name_that_no_function_can_have(start, files, folder, step):
    """If the folder's name is no valid function name, or is taken, the step is named after the method."""
    start(folder)

    assert f"features/{folder}/steps/200_{step}.py" in files()


def test_what_to_do_next_where_no_url_leads_to_it(start, app):
    """The output has the lines for the URLconf and its file, then check, test, curl and worker."""
    printed = start("create_order")

    assert re.search(r"^No URL reaches it yet\. Add this to \S*tests/urls\.py:$", printed, re.MULTILINE)
    assert f'  urlpatterns += [path("", include(feature_urls("{app.name}.features")))]\n' in printed
    assert printed.endswith(
        "Next:\n"
        "  python manage.py check\n"
        f"  python manage.py test {app.label}.test_create_order\n"
        "  python manage.py migrate\n"
        "  python manage.py runserver\n"
        "  curl -i -H 'Content-Type: application/json' -d '{\"name\": \"Minji\"}' http://127.0.0.1:8000/create_order/\n"
        "  python manage.py rqworker default   # in another terminal\n"
    )


def test_the_embedded_broker_is_named_where_it_is_needed(start, settings):
    """Without REDIS_URL, the command of the embedded broker is printed before that of the worker."""
    settings.RQ_QUEUES = {"default": {"UNIX_SOCKET_PATH": "/somewhere/broker.sock"}}

    printed = start("create_order")

    assert "  python manage.py numflow_broker   # in a terminal of its own: REDIS_URL is not set\n" in printed
    assert "numflow_broker" not in start("list_orders/@get")


def test_where_the_urlconf_leads_to_it(start, files, app, settings):
    """
    If the URLconf includes the features already, test and curl have the whole URL, and no lines for it are printed.
    """
    routed(app, settings, "v1/<int:tenant>/")

    printed = start("orders/[order_id=uuid]/@delete")

    url = "/v1/1/orders/01890a5d-ac96-774b-bcce-b302099a8057/"
    assert "No URL" not in printed
    assert f"  curl -i -X DELETE http://127.0.0.1:8000{url}\n" in printed
    assert f'URL = "{url}"\n' in files()["test_orders_order_id_delete.py"]


def test_a_dry_run_writes_nothing(start, files):
    """``--dry-run`` prints the tree and writes nothing."""
    before = files()

    printed = start("create_order", "--dry-run")

    assert printed.startswith("This would be written:\n")
    assert printed.endswith("    test_create_order.py\n")
    assert files() == before


@pytest.mark.parametrize(
    ("feature", "options", "message"),
    [
        ("", [], "names no feature; write <app>/<feature>, such as "),
        ("features/buy", [], "leave out 'features': write "),
        ("orders/@pots", [], "'@pots' is not a method; did you mean '@post'?"),
        ("orders/@x", [], "'@x' is not a method; use one of @get, @post, @put, @patch, @delete"),
        ("@get/orders", [], "the folder '@get' is a method and must be the last one"),
        ("orders/[id/@get", [], "'[id' is not a route parameter; did you mean [id]?"),
        ("orders/{id}/@get", [], "'{id}' is not a route parameter; did you mean [id]?"),
        ("orders/[request]/@get", [], "it has the parameter 'request', which Django itself hands to every view"),
        ("buy", ["--path", "x/<self>/"], "it has the parameter 'self', which Django itself hands to every view"),
        ("orders/[id=itn]/@get", [], "path = 'orders/<itn:id>/': 'itn' is not a path converter; did you mean 'int'?"),
        ("v1.0/@get", [], "Python cannot import a folder with a dot in its name: 'v1.0'"),
        ("../buy", [], "Python cannot import a folder with a dot in its name: '..'"),
        ("buy it", [], "'buy it' is not a valid name for a folder; use letters, digits, _ and -"),
        ("orders//buy", [], "'' is not a valid name for a folder"),
        ("_buy", [], "'_buy' is ignored by discovery; begin the name with a letter"),
        ("orders/@get", ["--method", "GET"], "'@get' takes method and path from its folders; leave out --method"),
        ("orders/@get", ["--path", "x/"], "'@get' takes method and path from its folders; leave out --path"),
        ("buy", ["--path", "a/{id}/"], "path = 'a/{id}/' is not in Django's syntax; write path = 'a/<str:id>/'"),
        ("buy", ["--path", "a/<int:b c>/"], "path = 'a/<int:b c>/': URL route"),
        ("there/steps/buy", [], "is a feature, and its steps cannot contain features; write the new one beside it"),
        ("buy", ["--path", "there/"], "there/ is answered by two features: "),
    ],
)
def test_refusals(start, files, tree, feature, options, message):
    """A target that cannot be a feature is refused with what to write instead, and no file is left."""
    tree.feature("features/there", steps={"100_go.py": "def go(ctx): ...\n"}, path="there/", method="POST")
    before = files()

    with pytest.raises(CommandError, match=re.escape(message)) as error:
        start(feature, *options)

    assert str(error.value).startswith("Nothing was written: ")
    assert files() == before
    assert not list(Path(tree.root, "features").glob("buy*"))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("markt", "there is no app 'markt' in INSTALLED_APPS; did you mean 'market'?"),
        ("xyzzy", "there is no app 'xyzzy' in INSTALLED_APPS; your apps are market, "),
        ("auth", "django.contrib.auth is installed in "),
        ("numflow_django", "write features into an app of your own"),
    ],
)
def test_only_into_an_app_of_ones_own(label, message):
    """An unknown app, or one that pip would overwrite, is refused."""
    with pytest.raises(CommandError, match=re.escape(message)):
        call_command("startfeature", f"{label}/buy")


def test_nothing_is_overwritten(start, files):
    """If the feature exists, the error lists its files, and nothing is changed."""
    start("create_order")
    before = files()

    with pytest.raises(CommandError) as error:
        start("create_order")

    lines = str(error.value).splitlines()
    assert lines[0] == "Nothing was written: these files exist already; choose another name, or delete them:"
    assert [line.rpartition("/")[2] for line in lines[1:]] == ["feature.py", "steps", "async_tasks"]
    assert files() == before


def test_a_test_of_that_name(start, files, app):
    """If the test's file exists, nothing is written, not even the feature."""
    Path(app.path, "test_create_order.py").write_text("mine\n")

    with pytest.raises(CommandError, match=re.escape(f"delete them:\n  {app.label}/test_create_order.py")):
        start("create_order")

    assert set(files()) == {"__init__.py", "tests.py", "test_create_order.py"}


def test_a_broken_urlconf(start, files, app, settings):
    """A URLconf that cannot be imported is reported, and nothing is written."""
    Path(app.path, "urls.py").write_text("import nowhere\n")
    settings.ROOT_URLCONF = f"{app.name}.urls"

    with pytest.raises(CommandError, match="the URLconf cannot be imported: ModuleNotFoundError: No module named"):
        start("create_order")

    assert set(files()) == {"__init__.py", "tests.py", "urls.py"}


def test_a_parameter_of_which_no_value_is_known(start, files, monkeypatch):
    """A converter that accepts no sample, or whose value JSON cannot represent, is refused."""
    from django.urls import converters

    odd = type("Odd", (), {"regex": "odd", "to_python": lambda self, value: value})
    thing = type("Thing", (), {"regex": "[a-z]+", "to_python": lambda self, value: object()})
    known = converters.get_converters() | {"odd": odd(), "thing": thing()}
    for module in ("django.urls.resolvers", "numflow_django.routing.paths"):
        monkeypatch.setattr(f"{module}.get_converters", lambda: known)
    before = files()

    with pytest.raises(CommandError, match="no value is known for the parameter 'x' with its converter Odd"):
        start("[x=odd]/@get")
    with pytest.raises(CommandError, match="the parameter 'x' with its converter Thing returns a value that JSON"):
        start("[x=thing]/@get")

    assert files() == before


def test_a_creation_that_fails_leaves_nothing(tmp_path):
    """Either all files are created or none, and existing files stay."""
    tmp_path /= "site"
    (tmp_path / "mine").mkdir(parents=True)
    (tmp_path / "mine/old.py").write_text("old")

    def create():
        with Creation() as creation:
            creation.write(tmp_path / "new/deep/a.py", "a")
            creation.write(tmp_path / "mine/b.py", "b")
            (tmp_path / "new/deep/__pycache__").mkdir()
            creation.write(tmp_path / "mine/old.py", "new")

    with pytest.raises(FileExistsError):
        create()

    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "old.py"]
    assert (tmp_path / "mine/old.py").read_text() == "old"
