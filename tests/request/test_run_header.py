"""The run's id in the answer to an unhandled error, and in its log record."""

import logging

import pytest
from django.core.signals import got_request_exception
from django.http import HttpResponse, JsonResponse
from django.urls import get_urlconf, reverse

from numflow_django.models import FeatureRun
from tests.support.serving import feature, route

pytestmark = pytest.mark.django_db(transaction=True)

AWAY = "raise OSError('away')"


@pytest.fixture
def client(client):
    client.raise_request_exception = False
    return client


@pytest.fixture
def shop(tree, settings):
    """Route a feature whose one step runs *body*."""

    def make(body=AWAY, **options):
        feature(tree, body, **options)
        route(tree, settings)

    return make


def test_an_unhandled_error_names_its_run(shop, client):
    """D2: the site's own page for a 500 carries the header with the run's id."""
    shop()

    answer = client.post("/shop/")

    assert (answer.status_code, answer["Numflow-Run"]) == (500, str(FeatureRun.objects.get().pk))
    assert b"Server Error (500)" in answer.content


def test_the_log_record_of_an_unhandled_error_names_its_run(shop, client, caplog):
    """D2: Django's own record of a 500 names the run, in its traceback."""
    shop()

    client.post("/shop/")

    record = next(record for record in caplog.records if record.name == "django.request")
    assert f"run {FeatureRun.objects.get().pk}, in the admin" in logging.Formatter().format(record)


def test_a_receiver_of_the_error_can_reverse_a_url(shop, tree, client, listen):
    """D2: what receives Django's signal of an unhandled error, such as one that sends an e-mail, can link to a page."""
    shop()
    named = (
        "from django.urls import path\nfrom .shop.feature import View\nurlpatterns = [path('shop/', View.as_view(), "
    )
    tree.write({"urls.py": f"{named}name='shop')]\n"})
    links = []
    listen(got_request_exception, lambda **facts: links.append(reverse("shop")))

    answer = client.post("/shop/")

    assert (links, answer["Numflow-Run"]) == (["/shop/"], str(FeatureRun.objects.get().pk))


def test_a_propagated_error_leaves_the_urlconf_alone(shop, client, settings):
    """D2: with DEBUG_PROPAGATE_EXCEPTIONS the error goes unanswered; the next reverse() asks the site's URLconf."""
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    shop()

    with pytest.raises(OSError, match="away"):
        client.post("/shop/")

    assert get_urlconf() == settings.ROOT_URLCONF


def test_the_page_for_developers_names_the_run(shop, client, settings):
    """D2: while DEBUG is on, Django's page for the error shows the run's id."""
    settings.DEBUG = True
    shop()

    answer = client.post("/shop/")

    assert f"run {FeatureRun.objects.get().pk}, in the admin".encode() in answer.content


def test_a_sites_own_handler_is_asked(tree, settings, client):
    """D2: handler500 of the URLconf makes the answer, and finds the URLconf as it was."""
    feature(tree, AWAY)
    route(tree, settings)
    tree.write(
        {"urls.py": (tree.root / "urls.py").read_text() + "\nhandler500 = 'tests.request.test_run_header.sorry'\n"}
    )

    answer = client.post("/shop/")

    assert (answer.status_code, answer.content) == (500, f"sorry from {settings.ROOT_URLCONF}".encode())
    assert answer["Numflow-Run"] == str(FeatureRun.objects.get().pk)


def sorry(request):
    return HttpResponse(f"sorry from {get_urlconf()}", status=500)


def test_a_request_without_a_row_names_none(shop, client, settings):
    """Without the log of rollbacks there is no row, and no header."""
    settings.NUMFLOW = {"LOG_ROLLBACKS": None}
    shop()

    assert "Numflow-Run" not in client.post("/shop/").headers


def test_the_next_error_does_not_name_the_run(shop, client):
    """The next unhandled error of the process, in a view that is no feature, has no header."""
    shop()
    client.post("/shop/")

    assert "Numflow-Run" not in client.post("/elsewhere/").headers


def test_an_on_commit_callback_that_raises_names_the_run(shop, client):
    """An error after COMMIT is a 500 too; its header names the run whose tasks go on."""
    body = "transaction.on_commit(lambda: 1 / 0)\nreturn HttpResponse()"
    shop(body, tasks=["mail"])

    answer = client.post("/shop/")

    assert (answer.status_code, answer["Numflow-Run"]) == (
        500,
        str(FeatureRun.objects.exclude(state="rolled_back").get().pk),
    )


def test_middleware_that_handles_the_error_is_left_alone(shop, client, settings):
    """D2: process_exception of a middleware is called as for any view, and answers in its own way."""
    settings.MIDDLEWARE = ["tests.request.test_run_header.Handles"]
    shop()

    assert client.post("/shop/").json() == {"handled": "away"}


class Handles:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, error):
        return JsonResponse({"handled": str(error)})


# The traceback of the row


def test_a_rolled_back_request_keeps_its_traceback(shop, client):
    """D2: the row has the traceback of the author's own frames, with secrets masked."""
    shop("password = 'x'\nraise OSError('password=hunter2')")

    client.post("/shop/")

    traceback = FeatureRun.objects.get().traceback
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert "steps/100_step1.py" in traceback
    assert "OSError: password=********" in traceback
    assert "numflow_django/views.py" not in traceback
    assert "hunter2" not in traceback


def test_an_answer_that_is_an_error_has_no_traceback(shop, client):
    """D2: a step that answers 503 has raised nothing."""
    shop("return HttpResponse(status=503)")

    client.post("/shop/")

    assert FeatureRun.objects.get().traceback == ""
