"""A failed attempt leaves nothing on the request: neither for the next attempt nor for the middleware."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import JsonResponse

from numflow_django import Retry
from numflow_django.models import FeatureRun
from tests.market.models import Sale
from tests.support.serving import ask, feature, posted, route

pytestmark = pytest.mark.django_db(transaction=True)

STORES = ["db", "cached_db", "cache", "file", "signed_cookies"]

#: The first attempt fails after all that is done before this; the second one goes on.
FAIL_ONCE = "ctx.executions = ctx.get('executions', 0) + 1\nif ctx.executions == 1: raise OSError('away')"
MESSAGES = "from django.contrib import messages"
LOGIN = """
from django.contrib.auth import get_user_model, login
login(request, get_user_model().objects.get(username='minji'))
"""


def retry(self, error, ctx, request):
    return Retry() if isinstance(error, OSError) else None


@pytest.fixture(autouse=True)
def site(settings, tmp_path):
    """Django's usual middleware, and places for what the stores of sessions keep."""
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "state"}}
    settings.SESSION_FILE_PATH = str(tmp_path)


@pytest.fixture
def minji():
    return get_user_model().objects.create_user("minji", password="rice")


@pytest.fixture
def stored(settings, request):
    """Keep the sessions in the store of the test's parameter."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    return request.param


def shop(tree, settings, *bodies, on_error=retry, **options):
    feature(tree, *bodies, on_error=on_error, **options)
    route(tree, settings)


@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_a_login_before_a_retry_is_a_login(tree, settings, client, minji, stored):
    """A27: a step that logs in, and is run again, logs in: the client gets its answer and its session."""
    shop(tree, settings, LOGIN, FAIL_ONCE, "response.json({'user': request.user.username})", tasks=["mail"])

    answer = client.post("/shop/")

    assert (answer.status_code, answer.json()) == (200, {"user": "minji"})
    assert client.session["_auth_user_id"] == str(minji.pk)
    assert FeatureRun.objects.get().created_by == str(minji.pk)


@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_a_visitors_session_survives_a_login_that_is_run_again(tree, settings, client, minji, stored):
    """A27: what the session held before the first attempt is there for the second one, and after the login."""
    fill = "if 'fill' in request.GET: request.session['cart'] = ['tea']; response.json({})"
    shop(tree, settings, fill, LOGIN, FAIL_ONCE, "response.json({'cart': request.session['cart']})")
    client.post("/shop/?fill=1")

    answer = client.post("/shop/")

    assert (answer.status_code, answer.json()) == (200, {"cart": ["tea"]})
    assert client.session["cart"] == ["tea"]
    assert client.session["_auth_user_id"] == str(minji.pk)


@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_each_attempt_begins_without_the_login_of_the_last_one(tree, settings, client, minji, stored):
    """A27: the second attempt finds the visitor and the session that the first one found."""
    note = "ctx.seen = [*ctx.get('seen', []), [request.user.is_authenticated, 'total' in request.session]]"
    total = "request.session['total'] = 1"
    shop(tree, settings, note, total, LOGIN, FAIL_ONCE, "response.json({'seen': ctx.seen})")

    assert client.post("/shop/").json() == {"seen": [[False, False], [False, False]]}


@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_a_counter_in_the_session_counts_once(tree, settings, client, stored):
    """A27: a step that is run twice has counted once, also in a list within the session."""
    count = "request.session['count'] = request.session.get('count', 0) + 1"
    note = "request.session.setdefault('seen', []).append(1)\nrequest.session.modified = True"
    shop(tree, settings, count, note, FAIL_ONCE, "response.json({})")
    client.post("/shop/")

    client.post("/shop/")

    assert (client.session["count"], client.session["seen"]) == (2, [1, 1])


@pytest.mark.parametrize("bad", ["raise KeyError", "response.status(403).json({})"])
@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_a_visitors_session_survives_a_login_that_fails(tree, settings, client, minji, stored, bad):
    """A27: the visitor keeps the session, and is not logged in, also in a store that has no transactions."""
    fill = "if 'fill' in request.GET: request.session['cart'] = ['tea']; response.json({})"
    show = "if 'show' in request.GET: response.json([request.session.get('cart'), request.user.username])"
    shop(tree, settings, fill, show, LOGIN, bad)
    client.raise_request_exception = False
    client.post("/shop/?fill=1")

    assert client.post("/shop/").status_code >= 400

    assert client.post("/shop/?show=1").json() == [["tea"], ""]


@pytest.mark.parametrize("bad", ["raise KeyError", "response.status(403).json({})"])
def test_a_login_that_fails_leaves_the_cookie_alone(tree, settings, client, minji, monkeypatch, bad):
    """A27: a signed cookie is the session itself: it is not deleted, even if no code has read it before the login."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    monkeypatch.setattr("django.core.signing.time.time", lambda: 1_800_000_000)  # all in one second
    fill = "if 'fill' in request.GET: request.session['cart'] = ['tea']; response.json({})"
    shop(tree, settings, fill, LOGIN, bad, on_error=lambda self, error, ctx, request: None)
    client.raise_request_exception = False
    client.post("/shop/?fill=1")

    answer = client.post("/shop/")

    assert (answer.status_code >= 400, settings.SESSION_COOKIE_NAME in answer.cookies) == (True, False)


@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_an_expired_session_that_no_step_reads_is_left_alone(tree, settings, client, stored):
    """A request whose cookie is out of date is answered as without on_error: no cookie is deleted, none varies it."""
    shop(tree, settings, "response.json({})")
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32

    answer = client.post("/shop/")

    assert (dict(answer.cookies), answer.headers.get("Vary")) == ({}, None)


def test_a_message_is_shown_once(tree, settings, client):
    """A27: a message of an attempt that failed is not shown beside that of the next one."""
    show = f"{MESSAGES}\nresponse.json({{'messages': [str(each) for each in messages.get_messages(request)]}})"
    shop(tree, settings, f"{MESSAGES}\nmessages.success(request, 'ordered')", FAIL_ONCE, show)

    assert client.post("/shop/").json() == {"messages": ["ordered"]}


def test_a_message_that_a_failed_attempt_showed_is_shown_again(tree, settings, client):
    """A27: an earlier request's message that the failed attempt has read is there for the next one."""
    greet = (
        "from django.contrib import messages\nif 'hi' in request.GET: messages.info(request, 'hi'); response.json({})"
    )
    read = "from django.contrib import messages\nctx.read = [str(each) for each in messages.get_messages(request)]"
    shop(tree, settings, greet, read, FAIL_ONCE, "response.json({'read': ctx.read})")
    client.post("/shop/?hi=1")

    assert client.post("/shop/").json() == {"read": ["hi"]}


@pytest.mark.parametrize("asked", [True, False], ids=["loaded before", "loaded by the step"])
def test_a_user_whom_a_step_changed_is_as_before(tree, settings, client, minji, asked):
    """A27: a step that changes the user and saves it has changed it once, however it was loaded."""
    change = "request.user.first_name += 'x'\nrequest.user.save()"
    initialize = (lambda self, ctx, request: request.user.is_authenticated and None) if asked else None
    hooks = {"initialize_context": initialize} if initialize else {}
    shop(tree, settings, change, FAIL_ONCE, "response.json({'name': request.user.first_name})", **hooks)
    client.force_login(minji)

    answer = client.post("/shop/")

    minji.refresh_from_db()
    assert (answer.json(), minji.first_name) == ({"name": "x"}, "x")


def test_a_user_without_a_session_is_as_before(tree):
    """A27: a user whom a token or a test has put on the request is put back as well."""
    user = get_user_model()(username="minji", first_name="")
    view = feature(tree, "request.user.first_name += 'x'", FAIL_ONCE, "response.json({})", on_error=retry)

    ask(view, posted(user=user))

    assert user.first_name == "x"


def test_data_that_a_step_changed_is_parsed_again(tree):
    """A27: a step that takes a key out of request.data finds it there in the next attempt."""
    view = feature(
        tree,
        "ctx.sku = request.data.pop('sku')",
        FAIL_ONCE,
        "response.json({'sku': ctx.sku, 'rest': request.data})",
        on_error=retry,
    )

    answer = ask(view, posted(data={"sku": "tea", "count": 1}, content_type="application/json"))

    assert json.loads(answer.content) == {"sku": "tea", "rest": {"count": 1}}


def test_data_that_was_read_before_the_steps_is_kept(tree):
    """A27: what initialize_context has made of request.data is what each attempt begins with."""

    def initialize_context(self, ctx, request):
        request.data["sku"] = request.data["sku"].upper()

    view = feature(
        tree,
        "ctx.sku = request.data.pop('sku')",
        FAIL_ONCE,
        "response.json({'sku': ctx.sku})",
        on_error=retry,
        initialize_context=initialize_context,
    )

    answer = ask(view, posted(data={"sku": "tea"}, content_type="application/json"))

    assert json.loads(answer.content) == {"sku": "TEA"}


def test_an_uploaded_file_is_read_from_its_beginning(tree):
    """A27: a file that the failed attempt has read to its end is read again."""
    view = feature(
        tree,
        "ctx.text = request.FILES['list'].read().decode()",
        FAIL_ONCE,
        "response.json({'text': ctx.text})",
        on_error=retry,
    )

    answer = ask(view, posted(data={"list": SimpleUploadedFile("list.txt", b"tea")}))

    assert json.loads(answer.content) == {"text": "tea"}


@pytest.mark.parametrize("stored", STORES, indirect=True)
@pytest.mark.parametrize(
    "refusal",
    ["raise StepError('no', status=409)", "response.status(409).json({})"],
    ids=["raised", "answered"],
)
def test_a_login_that_is_rolled_back_is_none(tree, settings, client, minji, stored, refusal):
    """A12: a step logs in and a later one refuses: the client gets the refusal, and is not logged in."""
    shop(tree, settings, LOGIN, refusal, on_error=lambda *args: None)

    answer = client.post("/shop/")

    assert answer.status_code == 409
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("stored", STORES, indirect=True)
def test_a_logout_that_is_rolled_back_is_none(tree, settings, client, minji, stored):
    """A12: a step logs out and a later one refuses: the client is still logged in."""
    shop(
        tree,
        settings,
        "from django.contrib.auth import logout\nlogout(request)",
        "raise StepError('no', status=409)",
    )
    client.force_login(minji)

    answer = client.post("/shop/")

    assert answer.status_code == 409
    assert client.session["_auth_user_id"] == str(minji.pk)


def test_what_a_refused_attempt_left_in_the_session_stays(tree, settings, client):
    """A counter of wrong passwords in the session counts although the step refuses, as in Django's own views."""
    count = "request.session['wrong'] = request.session.get('wrong', 0) + 1\nraise StepError('no', status=401)"
    shop(tree, settings, count)

    client.post("/shop/")
    client.post("/shop/")

    assert client.session["wrong"] == 2


def test_on_error_sees_the_request_as_it_was(tree, settings, client, minji):
    """A26: a login that was rolled back is undone before on_error is called; what on_error stores in it stays."""

    def on_error(self, error, ctx, request):
        request.session["asked"] = True
        return JsonResponse({"user": request.user.is_authenticated}, status=409)

    shop(tree, settings, LOGIN, "raise OSError('away')", on_error=on_error)

    answer = client.post("/shop/")

    assert (answer.status_code, answer.json()) == (409, {"user": False})
    assert client.session["asked"] is True


def test_a_cookie_without_a_session_harms_nothing(tree, settings, client):
    """A27: a session that has expired is an empty one, for each attempt."""
    client.cookies["sessionid"] = "gone" * 8
    note = "request.session['count'] = request.session.get('count', 0) + 1"
    shop(tree, settings, note, FAIL_ONCE, "response.json({'count': request.session['count']})")

    assert client.post("/shop/").json() == {"count": 1}


def test_without_sessions_there_is_nothing_to_do(tree, settings, client):
    """A27: a site without sessions, users and messages retries as any other."""
    settings.MIDDLEWARE = []
    shop(tree, settings, "Sale.objects.create(item='tea')", FAIL_ONCE, "response.json({})")

    assert client.post("/shop/").status_code == 200
    assert Sale.objects.count() == 1
