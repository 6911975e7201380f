"""Write a feature from the bodies of its steps, and send it requests."""

from textwrap import dedent, indent

from django.test import RequestFactory

PRELUDE = """\
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.http import Http404, HttpResponse, HttpResponseRedirect, JsonResponse
from numflow_django import StepError
from tests.market.models import Sale
"""


def feature(tree, *bodies, tasks=(), folder="shop", **attributes):
    """
    The FeatureView of a new folder: its steps 100, 200, ... run *bodies*, which may use ctx, request and response.

    *tasks* are names of async tasks, which fail the test that runs them; *attributes*, hooks among them, are set on
    the class.
    """
    steps = {f"{100 * n}_step{n}.py": module(f"step{n}(ctx, request, response)", body) for n, body in numbered(bodies)}
    never = {f"{100 * n}_{name}.py": module(f"{name}(ctx)", "raise AssertionError") for n, name in numbered(tasks)}
    tree.feature(folder, steps=steps, tasks=never)
    view = tree.view(folder)
    for name, value in attributes.items():
        setattr(view, name, value)
    return view


def numbered(items):
    return enumerate(items, start=1)


def module(signature, body):
    """The source of a module with one function; an ``await`` makes it an async one."""
    keyword = "async def" if "await " in body else "def"
    return f"{PRELUDE}\n\n{keyword} {signature}:\n{indent(dedent(body).strip(), '    ')}\n"


def posted(*, user=None, **options):
    """A POST to /shop/, with a list ``trail`` for the steps to write to."""
    request = RequestFactory().post("/shop/", **options)
    request.trail = []
    if user is not None:
        request.user = user
    return request


def ask(view, request=None):
    """What *view* answers to *request*, or to a POST, without Django's own handling of errors around it."""
    return view.as_view()(request or posted())


def route(tree, settings, folder="shop", path="shop/"):
    """Route the feature of *folder* at /shop/, or at *path*, for a test client."""
    urls = f"from django.urls import path\nfrom .{folder}.feature import View\nurlpatterns = [path('{path}', "
    tree.write({"urls.py": urls + "View.as_view())]\n"})
    settings.ROOT_URLCONF = f"{tree.package}.urls"
