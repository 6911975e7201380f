"""FeatureAPIView: a feature that is a view of Django REST Framework."""

import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client, TestCase
from django.urls import path
from rest_framework import exceptions, permissions
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.schemas.generators import EndpointEnumerator
from rest_framework.throttling import AnonRateThrottle

from numflow_django import Retry
from numflow_django.exceptions import ContextValueError
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.serving import module, numbered
from tests.support.sites import ROOT, Site, files_in

FEATURE = """
from rest_framework import serializers
from numflow_django.contrib.rest_framework import FeatureAPIView
from tests.market.models import Sale

class SaleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Sale
        fields = ["item", "quantity"]

class View(FeatureAPIView):
    {attributes}
"""
URLS = "from numflow_django import feature_urls\nurlpatterns = feature_urls({package!r})\n"
IMPORTS = "from rest_framework import exceptions\nfrom rest_framework.response import Response\n"
ORDER = """
    from django.db import models

    class Order(models.Model):
        sku = models.CharField(max_length=20)
        email = models.EmailField()
"""
SITE_URLS = "from numflow_django import feature_urls\nurlpatterns = feature_urls('shop.features')\n"
SAVE = "ctx.sale = request.serializer.save()"
ANSWER = "return Response({'id': ctx.sale.pk}, status=201)"
BASIC = {"Authorization": "Basic bWluamk6c2VjcmV0"}  # minji:secret


@pytest.fixture
def api(tree, settings, enqueued):
    """Write a feature with the SaleSerializer, routed at /sales/: its steps run *bodies*."""

    def write(*bodies, tasks=(), folder="sales/@post", serializer="SaleSerializer", **attributes):
        files = {"feature.py": FEATURE.format(attributes=f"serializer_class = {serializer}")}
        for n, body in numbered(bodies):
            files[f"steps/{100 * n}_step{n}.py"] = IMPORTS + module(f"step{n}(ctx, request, response)", body)
        for n, name in numbered(tasks):
            files[f"async_tasks/{100 * n}_{name}.py"] = module(f"{name}(ctx)", "raise AssertionError")
        tree.write({f"{folder}/{name}": source for name, source in files.items()})
        view = tree.view(folder)
        for name, value in attributes.items():
            setattr(view, name, value)
        return view

    tree.write({"urls.py": URLS.format(package=tree.package)})
    settings.ROOT_URLCONF = f"{tree.package}.urls"
    return write


def post(client, data=None, **options):
    data = {"item": "tea", "quantity": 2} if data is None else data
    return client.post("/sales/", data, **{"content_type": "application/json"} | options)


@pytest.fixture
def minji(db):
    return User.objects.create_user("minji", password="secret")


# What Django REST Framework does before the steps


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("attributes", "status", "detail"),
    [
        (
            {"authentication_classes": [BasicAuthentication], "permission_classes": [permissions.IsAuthenticated]},
            401,
            "Authentication credentials were not provided.",
        ),
        ({"permission_classes": [permissions.IsAdminUser]}, 403, "Authentication credentials were not provided."),
        ({"parser_classes": []}, 415, 'Unsupported media type "application/json" in request.'),
        ({"method": "PUT"}, 405, 'Method "POST" not allowed.'),
    ],
)
def test_policies_stand_before_the_steps(api, client, attributes, status, detail):
    """A25: Authentication, permissions, parsers and methods answer as usual, and no step runs."""
    api("raise AssertionError", **attributes)

    answer = post(client)

    assert answer.status_code == status
    assert answer.json() == {"detail": detail}
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_reserved_key_that_the_client_sent_is_a_400(api, client, kind):
    """A step that stores whatever the client sent answers a name that ctx has itself with a 400."""
    api("for key, value in request.data.items(): ctx[key] = value", serializer=None)
    data = {"task": 1} if kind == "application/json" else "task=1"

    answer = post(client, data, content_type=kind)

    assert answer.status_code == 400
    assert answer.json() == {"error": {"message": "reserved key 'task': choose another name", "status": 400}}


@pytest.mark.django_db
def test_steps_find_the_parameters_of_the_route(api, client):
    """A31: request.params holds the route's parameters, as in any other feature."""
    api("response.json({'params': request.params})", folder="sales/[number=int]/@post", serializer=None)

    answer = client.post("/sales/7/", {}, content_type="application/json")

    assert answer.json() == {"params": {"number": 7}}


@pytest.mark.django_db
def test_a_nul_in_the_url_is_a_400(api, client):
    """A route's parameter with a NUL, which PostgreSQL stores in no text, is refused before the first step."""
    api("response.json({'sku': request.params['sku']})", folder="sales/[sku]/@post", serializer=None)

    good, bad = (client.post(url, {}, content_type="application/json") for url in ("/sales/A-1/", "/sales/A%001/"))

    assert (good.status_code, good.json()) == (200, {"sku": "A-1"})
    assert (bad.status_code, bad.json()) == (
        400,
        {"error": {"message": "invalid parameter 'sku' in the URL: a text holds a NUL character", "status": 400}},
    )


@pytest.mark.django_db
def test_throttles(api, client):
    """A throttle answers 429, with the time to wait; a Retry of the steps does not count as a request."""
    throttle = type("Throttle", (AnonRateThrottle,), {"rate": "1/day"})
    cache.clear()
    api(
        "ctx.tries = ctx.get('tries', 0) + 1\nif ctx.tries == 1: raise OSError('away')",
        SAVE,
        ANSWER,
        throttle_classes=[throttle],
        on_error=lambda self, error, ctx, request: Retry(),
    )

    assert post(client).status_code == 201
    answer = post(client)

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert Sale.objects.count() == 1


@pytest.mark.django_db
def test_the_user_of_the_request_is_the_runs(api, client, minji):
    """The user that an authentication class finds is the steps' request.user and the run's created_by."""
    api(
        "assert request.user.username == 'minji'", SAVE, ANSWER, tasks=["mail"],
        authentication_classes=[BasicAuthentication],
    )  # fmt: skip

    answer = post(client, headers=BASIC)

    run = FeatureRun.objects.get()
    assert answer.headers["Numflow-Run"] == str(run.pk)
    assert (run.created_by, run.method, run.path, run.status_code) == (str(minji.pk), "POST", "/sales/", 201)


@pytest.mark.django_db
def test_csrf_is_checked_for_sessions_only(api, minji):
    """The view is CSRF-exempt, and SessionAuthentication checks by itself, as for every view of the framework."""
    api(SAVE, ANSWER, authentication_classes=[SessionAuthentication])
    client = Client(enforce_csrf_checks=True)

    assert post(client).status_code == 201
    client.force_login(minji)
    assert post(client).json() == {"detail": "CSRF Failed: CSRF cookie not set."}


# The serializer


@pytest.mark.django_db(transaction=True)
def test_the_steps_find_the_valid_serializer(api, client, enqueued):
    """request.serializer is valid, request.data is what was sent; response and job come after COMMIT."""
    api(
        "ctx.types = [type(data['quantity']).__name__ for data in (request.data, request.serializer.validated_data)]",
        SAVE,
        "return Response({'types': ctx.types}, status=201)",
        tasks=["mail"],
    )

    answer = post(client, {"item": "tea", "quantity": "2"})

    assert (answer.status_code, answer.json()) == (201, {"types": ["str", "int"]})
    assert Sale.objects.get().quantity == 2
    assert enqueued == [FeatureRun.objects.get().pk]


@pytest.mark.django_db
def test_an_invalid_body(api, client, enqueued):
    """It is a 400 of the framework's own form; no step runs and no row is left."""
    api("raise AssertionError", tasks=["mail"])

    answer = post(client, {"quantity": "many"})

    assert answer.status_code == 400
    assert answer.json() == {"item": ["This field is required."], "quantity": ["A valid integer is required."]}
    assert not FeatureRun.objects.exists()


@pytest.mark.django_db
def test_a_body_that_cannot_be_parsed(api, client):
    """It is the parser's 400, and none of numflow_django's."""
    api("raise AssertionError")

    answer = post(client, "{")

    assert (answer.status_code, list(answer.json())) == (400, ["detail"])


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "status"), [("patch", 200), ("put", 400)])
def test_a_put_or_patch_changes_the_object(api, client, method, status):
    """get_object gives the instance, as in GenericAPIView; only a PATCH may leave fields out."""
    Sale.objects.create(item="tea", quantity=2)
    answer = "return Response({'item': ctx.sale.item, 'quantity': ctx.sale.quantity})"
    api(SAVE, answer, folder=f"sales/@{method}", get_object=lambda self: Sale.objects.select_for_update().get())

    answer = client.generic(method.upper(), "/sales/", '{"quantity": 3}', content_type="application/json")

    assert answer.status_code == status
    assert answer.json() == {"item": "tea", "quantity": 3} if status == 200 else {"item": ["This field is required."]}
    assert Sale.objects.get().quantity == (3 if status == 200 else 2)


@pytest.mark.django_db
@pytest.mark.parametrize(("folder", "serializer"), [("sales/@get", "SaleSerializer"), ("sales/@post", "None")])
def test_no_body_or_no_serializer(api, client, folder, serializer):
    """A GET, and a feature without a serializer_class, are not validated."""
    api("return Response({'has': hasattr(request, 'serializer')})", folder=folder, serializer=serializer)

    answer = client.get("/sales/") if "get" in folder else post(client, [1, 2])

    assert answer.json() == {"has": False}


@pytest.mark.django_db
def test_the_serializer_does_not_travel(api, client):
    """D6: On ctx it is refused, with what to store in its place."""
    api("ctx.serializer = request.serializer", "return Response()", tasks=["mail"])

    with pytest.raises(ContextValueError, match="store what the tasks need of its validated_data"):
        post(client)


@pytest.mark.django_db
def test_each_attempt_has_a_serializer_of_its_own(api, client):
    """A27: After a Retry, save() inserts again and updates no row that was rolled back."""
    api(
        SAVE,
        "ctx.tries = ctx.get('tries', 0) + 1\nif ctx.tries == 1: raise OSError('away')",
        ANSWER,
        on_error=lambda self, error, ctx, request: Retry(max_attempts=2),
    )

    assert post(client).json() == {"id": Sale.objects.get().pk}


@pytest.mark.django_db
@pytest.mark.parametrize("before", [{}, {"initialize_context": lambda self, ctx, request: request.data and None}])
def test_each_attempt_has_the_data_that_the_client_sent(api, client, before):
    """A27: After a Retry, the JSON that a step has changed is as the client sent it, even if a hook read it first."""
    api(
        "ctx.seen = [*ctx.get('seen', []), request.data.pop('item', None)]\nif len(ctx.seen) == 1: raise OSError",
        "return Response(ctx.seen)",
        serializer="None",
        on_error=lambda self, error, ctx, request: Retry(max_attempts=2),
        **before,
    )

    assert post(client).json() == ["tea", "tea"]


# Errors


ERRORS = [
    ("exceptions.ValidationError({'item': ['Sold out']})", 400, {"item": ["Sold out"]}),
    ("exceptions.ParseError()", 400, {"detail": "Malformed request."}),
    ("exceptions.NotAuthenticated()", 401, {"detail": "Authentication credentials were not provided."}),
    ("exceptions.PermissionDenied()", 403, {"detail": "You do not have permission to perform this action."}),
    ("PermissionDenied()", 403, {"detail": "You do not have permission to perform this action."}),
    ("Http404('No such tea')", 404, {"detail": "No such tea"}),
    ("exceptions.Throttled(wait=7)", 429, {"detail": "Request was throttled. Expected available in 7 seconds."}),
    ("exceptions.APIException('Away')", 500, {"detail": "Away"}),
    ("ValidationError({'item': 'Sold out'})", 400, {"item": ["Sold out"]}),
    ("ValidationError('Sold out')", 400, {"non_field_errors": ["Sold out"]}),
    (
        "StepError('Sold out', status=409, details=[1])",
        409,
        {"error": {"message": "Sold out", "status": 409, "details": [1], "step": {"number": 300, "name": "step3"}}},
    ),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("error", "status", "body"), ERRORS)
def test_an_error_rolls_back_and_is_answered_by_the_framework(api, client, enqueued, settings, error, status, body):
    """A13: Partial work is rolled back, callbacks and tasks are not run, and the answer is the framework's own."""
    settings.NUMFLOW = {"LOG_ROLLBACKS": None}
    hook = "transaction.on_commit(lambda: Sale.objects.create(item='from the callback'))"
    api(SAVE, hook, f"raise {error}", tasks=["mail"], authentication_classes=[BasicAuthentication])

    answer = post(client)

    assert (answer.status_code, answer.json()) == (status, body)
    assert not Sale.objects.exists()
    assert not FeatureRun.objects.exists()
    assert enqueued == []


@pytest.mark.django_db
@pytest.mark.parametrize(("error", "logged"), [("NotFound()", 0), ("APIException()", 1)])
def test_the_clients_errors_are_not_logged(api, client, error, logged):
    """D2: A 4xx of the framework leaves no row and a 5xx does, as with any other error."""
    api(SAVE, f"raise exceptions.{error}")

    answer = post(client)

    assert FeatureRun.objects.count() == logged
    assert ("Numflow-Run" in answer.headers) == bool(logged)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", [400, 503])
def test_an_error_response_of_a_step_rolls_back(api, client, enqueued, status):
    """A12: A Response from 400 rolls back, as every answer does."""
    api(SAVE, f"return Response({{'sold': 'out'}}, status={status})", tasks=["mail"])

    answer = post(client)

    assert (answer.status_code, answer.json()) == (status, {"sold": "out"})
    assert not Sale.objects.exists()
    assert enqueued == []


def envelope(exc, context):
    """An EXCEPTION_HANDLER that answers everything but a LookupError, and records its calls."""
    envelope.asked.append(type(exc).__name__)
    return None if isinstance(exc, LookupError) else Response({"mine": str(exc)}, status=418)


@pytest.fixture
def handler():
    """*envelope* as the view's exception handler."""
    envelope.asked = []
    return {"get_exception_handler": lambda self: envelope}


@pytest.mark.django_db
def test_a_handler_of_the_projects_own_is_asked_for_every_error(api, client, handler):
    """EXCEPTION_HANDLER is called for any error, a StepError too, and its response is sent."""
    api(SAVE, "raise StepError('Sold out')", **handler)

    answer = post(client)

    assert (answer.status_code, answer.json()) == (418, {"mine": "Sold out"})
    assert not Sale.objects.exists()


@pytest.mark.django_db
def test_an_error_that_no_handler_answers_goes_on_to_django(api, client, handler):
    """A13: It keeps its type and its notes, and the handler is called once."""
    api(SAVE, "raise LookupError('a mistake')", **handler)

    with pytest.raises(LookupError, match="a mistake") as caught:
        post(client)

    assert envelope.asked == ["LookupError"]
    assert "step 200 step2" in caught.value.__notes__[0]
    assert FeatureRun.objects.get().state == "rolled_back"


@pytest.mark.django_db
def test_on_error_comes_first(api, client, handler):
    """A26: on_error may answer, with a Response too, or raise an exception of the framework."""

    def on_error(self, error, ctx, request):
        if isinstance(error, OSError):
            raise exceptions.NotFound("gone") from error
        return Response({"on_error": str(error)}, status=409)

    api("raise OSError() if request.data['item'] == 'cup' else LookupError('tea')", on_error=on_error, **handler)

    assert post(client).json() == {"on_error": "tea"}
    assert envelope.asked == []
    assert post(client, {"item": "cup"}).json() == {"mine": "gone"}


@pytest.mark.django_db(transaction=True)
def test_an_error_after_the_commit_is_nobodys_4xx(api, client):
    """A callback that raises after COMMIT is a 500, whatever it raises: the work is done and is not denied."""

    api("def late(): raise exceptions.NotFound()\ntransaction.on_commit(late)", SAVE, ANSWER)

    with pytest.raises(exceptions.NotFound):
        post(client)

    assert Sale.objects.count() == 1


class AtomicRequestsTests(TestCase):
    """ATOMIC_REQUESTS in a plain TestCase, whose own transaction is what the framework sees."""

    @pytest.fixture(autouse=True)
    def write(self, api):
        """The feature under test."""
        self.write_feature = api

    def test_the_test_case_can_go_on(self):
        """An error that the framework answers does not doom the transaction around the request."""
        self.write_feature(SAVE, "raise exceptions.NotFound()", tasks=["mail"])
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        self.addCleanup(connection.settings_dict.__setitem__, "ATOMIC_REQUESTS", False)

        for data, status in [({"item": "tea"}, 404), ({}, 400)]:
            assert post(self.client, data).status_code == status
            assert not Sale.objects.exists()


# Answers


@pytest.mark.django_db
def test_content_negotiation(api, client):
    """The renderer is what the client accepts; 406 before any step if there is none."""
    api(SAVE, ANSWER)

    assert post(client).headers["Content-Type"] == "application/json"
    page = post(client, headers={"accept": "text/html"})
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "HTTP 201 Created" in page.content.decode()
    assert "Allow:" in page.content.decode()
    assert post(client, headers={"accept": "image/png"}).status_code == 406
    assert Sale.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_response_is_rendered_inside_its_step(api, client, enqueued):
    """What cannot be rendered rolls back: no committed work is answered with a 500."""
    api(SAVE, "return Response({'sale': ctx.sale})", tasks=["mail"])

    with pytest.raises(TypeError, match="Sale is not JSON serializable") as caught:
        post(client)

    assert "step 200 step2" in caught.value.__notes__[0]
    assert not Sale.objects.exists()
    assert enqueued == []


@pytest.mark.django_db
def test_answers_of_django_and_of_the_response_parameter(api, client):
    """A step may answer with an HttpResponse or the third parameter as in any feature."""
    api("response.json({'이름': '녹차'}, status=202)")

    answer = post(client)

    assert (answer.status_code, answer.content.decode()) == (202, '{"이름": "녹차"}')


@pytest.mark.django_db
def test_options_describe_the_serializer(api, client):
    """OPTIONS is the framework's metadata, with the fields of the serializer."""
    api("raise AssertionError").__doc__ = "Sell something."

    answer = client.options("/sales/")

    metadata = answer.json()
    assert metadata["description"] == "Sell something."
    assert metadata["actions"]["POST"]["item"]["max_length"] == 50
    assert answer.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.django_db
def test_options_without_a_serializer(api, client):
    """OPTIONS, and the browsable page, do without a serializer_class."""
    api("return Response({})", serializer="None")

    assert client.options("/sales/").json()["actions"] == {"POST": {}}
    assert post(client, {}, headers={"accept": "text/html"}).status_code == 200


@pytest.mark.django_db
def test_the_browsable_page_of_a_feature_has_its_form(api, client):
    """The browsable API shows the serializer's form, on the page of a refused method too."""
    api("raise AssertionError")

    page = client.get("/sales/", headers={"accept": "text/html"})

    assert page.status_code == 405
    assert 'name="quantity"' in page.content.decode()


# Routes


@pytest.mark.django_db
def test_by_hand(api, rf, tree, settings, client):
    """A view that is routed by hand with as_view() is the same."""
    view = api(SAVE, ANSWER, folder="sales", method="POST")
    urls = type(sys)("by_hand")
    urls.urlpatterns = [path("hand/", view.as_view(permission_classes=[permissions.AllowAny]))]
    settings.ROOT_URLCONF = urls

    answer = client.post("/hand/", {"item": "tea"})

    assert answer.status_code == 201
    assert client.get("/hand/").headers["Allow"] == "POST, OPTIONS"


@pytest.mark.django_db
def test_features_that_share_a_path_are_in_the_schema(api, tree, client):
    """A34: Tools find each feature's class, and so its serializer, though one URL serves them all."""
    api("return Response(['tea'])", folder="sales/@get")
    api(SAVE, ANSWER, folder="sales/@post")
    assert client.get("/sales/").json() == ["tea"]
    assert post(client).headers["Allow"] == "GET, POST, HEAD, OPTIONS"

    endpoints = EndpointEnumerator(urlconf=f"{tree.package}.urls").get_api_endpoints()

    classes = {method: (path, callback.cls) for path, method, callback in endpoints}
    assert classes == {
        "GET": ("/sales/", tree.view("sales/@get")),
        "POST": ("/sales/", tree.view("sales/@post")),
    }
    # drf-spectacular asks the view for the handler of a method
    assert callable(tree.view("sales/@post")().post)
    assert not hasattr(tree.view("sales/@post")(), "get")


# Without the framework


def test_the_framework_is_not_in_installed_apps(api, settings):
    """Pages for browsers without the framework's templates are a mistake; JSON alone needs none."""
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "rest_framework"]
    view = api(SAVE, ANSWER, renderer_classes=[JSONRenderer, BrowsableAPIRenderer])

    view.as_view()
    (mistake,) = view.feature.mistakes
    view.as_view(renderer_classes=[JSONRenderer])

    assert "add 'rest_framework' to INSTALLED_APPS, or set renderer_classes = [JSONRenderer]" in str(mistake)
    assert view.feature.mistakes == ()


def test_the_framework_is_not_installed(monkeypatch):
    """Importing the module says what to install."""
    monkeypatch.delitem(sys.modules, "numflow_django.contrib.rest_framework", raising=False)
    monkeypatch.setitem(sys.modules, "rest_framework.exceptions", None)

    with pytest.raises(ImproperlyConfigured, match=r'pip install "numflow-django\[rest_framework\]"'):
        __import__("numflow_django.contrib.rest_framework")


def test_the_core_does_without_the_framework():
    """All that the package exports is importable, and imports nothing of the framework."""
    program = (
        "import sys, django; django.setup(); import numflow_django as n; [getattr(n, name) for name in n.__all__]; "
        "sys.exit('rest_framework.views' in sys.modules)"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "PYTHONPATH": ":".join(sys.path)}

    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


# docs/how-to/rest-framework.md


def test_the_how_to_page(tmp_path):
    """how-to/rest-framework.md: its feature answers 201, mails, and is rolled back by its ValidationError."""
    page = (ROOT / "docs" / "how-to/rest-framework.md").read_text(encoding="utf-8")
    site = Site(tmp_path).write(files_in(page)).write({"shop/models.py": ORDER, "urls.py": SITE_URLS})
    site.write({"with_rest.py": "from settings import *\nINSTALLED_APPS += ['rest_framework']\n"})

    outcome = site.run(
        """
        from django.contrib.auth.models import User
        User.objects.create_user("minji", password="secret")
        basic = {"Authorization": "Basic bWluamk6c2VjcmV0"}
        def ask(method, path, data, **options):
            answer = getattr(Client(), method)(path, data, content_type="application/json", **options)
            return [answer.status_code, answer.json()]
        order = {"sku": "A-1", "email": "minji@example.com"}
        result = [
            ask("post", "/orders/", order)[0],
            ask("post", "/orders/", order, headers=basic),
            ask("post", "/orders/", {"sku": "A-1", "email": "minji"}, headers=basic),
            ask("post", "/orders/", order | {"sku": "B-2"}, headers=basic),
            ask("patch", "/orders/1/", {"sku": "A-2"}),
            ask("patch", "/orders/7/", {"sku": "A-2"})[0],
            [run_tasks(), mail.outbox[0].to, FeatureRun.objects.get().created_by, Order.objects.count()],
        ]
        """,
        settings="with_rest",
    )

    assert outcome == [
        401,
        [201, {"id": 1, "sku": "A-1", "email": "minji@example.com"}],
        [400, {"email": ["Enter a valid email address."]}],
        [400, {"sku": ["Sold out."]}],
        [200, {"id": 1, "sku": "A-2", "email": "minji@example.com"}],
        404,
        [["succeeded"], ["minji@example.com"], "1", 1],
    ]
