"""``manage.py numflow_features``: the tree, the JSON, and what is wrong."""

import json
import os
import pty
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from numflow_django.discovery.registry import Registry, registry
from tests.support.sites import ROOT

STEP = "def {}(ctx, request, response): response.json({{}})\n"
TASK = "from datetime import timedelta\nfrom numflow_django import async_task\n\n{}\ndef {}(ctx): ...\n"


@pytest.fixture
def show(settings):
    """Run the command; return what it printed."""

    def run(*arguments, **options):
        out = StringIO()
        call_command("numflow_features", *arguments, stdout=out, **options)
        return out.getvalue()

    settings.NUMFLOW = {"TASK_TIMEOUT": 120}
    return run


@pytest.fixture
def shop(tree, settings):
    """Two features of one package, the explicit one under two prefixes and the other shared with a third method."""
    rules = (
        "@async_task(timeout=30, max_attempts=5, atomic=True, stop_on_failure=True, start_after=timedelta(minutes=1))"
    )
    tree.feature(
        "buy",
        steps={"100_validate.py": STEP.format("validate"), "1000_respond.py": STEP.format("respond")},
        tasks={"100_mail.py": TASK.format(rules, "mail"), "알림.py": TASK.format("", "알림")},
        path="api/orders/<int:pk>/",
        method="POST",
        queue="mail",
    )
    tree.write(
        {
            "orders/@get/steps/100_find.py": STEP.format("find"),
            "orders/@delete/steps/100_delete.py": STEP.format("delete"),
            "urls.py": f"""
                from django.urls import include, path, re_path
                from numflow_django import feature_urls
                urlpatterns = [
                    path("v1/<slug:tenant>/", include(feature_urls({tree.package!r}))),
                    re_path("^v2/", include(feature_urls({tree.package!r}))),
                ]
            """,
        }
    )
    settings.ROOT_URLCONF = f"{tree.package}.urls"
    settings.NUMFLOW = {"TASK_TIMEOUT": 120, "FEATURES": [tree.package]}
    return tree.package


def test_the_tree(show, shop):
    """A36: METHOD and full path, steps, tasks with queue, timeout, attempts and what else is not as usual."""
    assert show(shop) == (
        f"{shop}\n"
        "  POST /v1/<slug:tenant>/api/orders/<int:pk>/\n"
        "  POST /v2/api/orders/<int:pk>/\n"
        f"    {shop}.buy\n"
        "    steps\n"
        "       100 validate\n"
        "      1000 respond\n"
        "    async_tasks  queue mail\n"
        "      100 mail  timeout 30 s, 5 attempts, atomic, stop_on_failure, start_after 60 s\n"
        "          알림  timeout 120 s, 1 attempt\n"
        "  DELETE /v1/<slug:tenant>/orders/\n"
        "  DELETE /v2/orders/\n"
        f"    {shop}.orders.@delete\n"
        "    steps\n"
        "      100 delete\n"
        "  GET /v1/<slug:tenant>/orders/\n"
        "  GET /v2/orders/\n"
        f"    {shop}.orders.@get\n"
        "    steps\n"
        "      100 find\n"
    )


def test_the_json(show, shop, tree):
    """A36: ``--json`` has the same facts in the shape that is documented."""
    shown = json.loads(show(f"{shop}.buy", "--json"))

    assert shown == {
        "features": [
            {
                "label": f"{shop}.buy",
                "app": shop,
                "declared_in": f"{shop}.buy.feature.View",
                "method": "POST",
                "path": "api/orders/<int:pk>/",
                "urls": ["/v1/<slug:tenant>/api/orders/<int:pk>/", "/v2/api/orders/<int:pk>/"],
                "using": "default",
                "atomic": True,
                "rollback_on_error_response": True,
                "queue": "mail",
                "steps": [
                    {"number": 100, "name": "validate", "file": f"{tree.root}/buy/steps/100_validate.py"}
                    | {"is_async": False},
                    {"number": 1000, "name": "respond", "file": f"{tree.root}/buy/steps/1000_respond.py"}
                    | {"is_async": False},
                ],
                "async_tasks": [
                    {"number": 100, "name": "mail", "file": f"{tree.root}/buy/async_tasks/100_mail.py"}
                    | {"is_async": False, "timeout": 30, "max_attempts": 5, "atomic": True}
                    | {"stop_on_failure": True, "start_after": 60},
                    {"number": None, "name": "알림", "file": f"{tree.root}/buy/async_tasks/알림.py"}
                    | {"is_async": False, "timeout": 120, "max_attempts": 1, "atomic": False}
                    | {"stop_on_failure": False, "start_after": 0},
                ],
            }
        ],
        "mistakes": [],
    }


def test_without_a_label_all_apps_are_shown(show, shop):
    """A36: The features are grouped by app, under its label."""
    assert [line for line in show().splitlines() if not line.startswith(" ")][:2] == ["market", shop]


def test_what_is_unusual_about_the_steps(show, tree, settings):
    """A36: A feature without a transaction, in another database, or whose refusals commit says so."""
    tree.feature("read", steps={"100_a.py": STEP.format("a")}, path="read/", atomic=False, using="other")
    tree.feature("keep", steps={"100_a.py": STEP.format("a")}, path="keep/", rollback_on_error_response=False)
    settings.NUMFLOW = {"FEATURES": [tree.package]}

    printed = show(tree.package)

    assert "  ANY read/  no URL reaches it\n" in printed
    assert "    steps  autocommit (atomic = False), database other\n" in printed
    assert "    steps  4xx and 5xx commit\n" in printed


def test_a_feature_that_is_routed_by_hand(show, tree, settings):
    """A36: The URLconf is loaded, and a decorator that hides the class hides no URL."""
    tree.feature("buy", steps={"100_a.py": STEP.format("a")}, method="PUT")
    tree.write(
        {
            "urls.py": f"""
                from functools import partial
                from django.urls import path
                from {tree.package}.buy.feature import View
                view = View.as_view()
                def hide(view): return lambda request: view(request)
                urlpatterns = [path("hidden/", hide(view)), path("partial/", partial(view)), path("plain/", view)]
            """
        }
    )
    settings.ROOT_URLCONF = f"{tree.package}.urls"

    assert show(tree.package).splitlines()[1:5] == [
        "  PUT /hidden/",
        "  PUT /partial/",
        "  PUT /plain/",
        f"    {tree.package}.buy",
    ]


def test_mistakes_end_it_with_an_error(show, tree, settings):
    """A36: What could be read is printed, then the mistakes with their ids, and the exit code is not zero."""
    tree.feature("buy", steps={"100_a.py": STEP.format("a"), "200_b.py": "x = 1\n"}, path="buy/")
    tree.feature("sell", steps={}, path="sell/")
    settings.NUMFLOW = {"FEATURES": [tree.package], "TYPO": 1}
    out = StringIO()

    with pytest.raises(CommandError) as error:
        call_command("numflow_features", tree.package, "--json", stdout=out)

    assert str(error.value).startswith("3 mistakes:\n")
    shown = json.loads(out.getvalue())
    assert {mistake["id"] for mistake in shown["mistakes"]} == {"numflow.E105", "numflow.E101", "numflow.E001"}
    assert all(f"({mistake['id']}) {mistake['message']}" in str(error.value) for mistake in shown["mistakes"])
    assert [feature["label"] for feature in shown["features"]] == [f"{tree.package}.buy", f"{tree.package}.sell"]
    assert len(registry.mistakes) == 2


def test_a_label_that_does_not_exist(show, shop):
    """A36: A label that is no feature and no app is an error with the one that was meant."""
    with pytest.raises(CommandError, match=rf"'{shop}.bye' is neither .*; did you mean '{shop}.buy'\?"):
        show(f"{shop}.bye")


def test_a_site_without_features(show, settings, monkeypatch):
    """A36: Where there is no feature, the command to start one is named."""
    monkeypatch.setattr("numflow_django.routing.catalogue.registry", Registry())
    settings.NUMFLOW = {"FEATURES": []}
    settings.ROOT_URLCONF = "django.contrib.auth.urls"

    assert show() == "There are no features: manage.py startfeature <app>/<name>\n"


def test_a_narrow_terminal(show, shop, monkeypatch):
    """A36: Where a line is too long for the terminal, the rules stand below the task."""
    monkeypatch.setenv("COLUMNS", "40")

    printed = show(f"{shop}.buy")

    assert (
        "      100 mail\n"
        "          timeout 30 s, 5 attempts,\n"
        "          atomic, stop_on_failure,\n"
        "          start_after 60 s\n"
    ) in printed


@pytest.mark.parametrize(
    ("environment", "options", "is_coloured"),
    [
        ({}, [], True),
        ({"NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": ""}, [], True),
        ({}, ["--no-color"], False),
        ({"NO_COLOR": "1"}, ["--force-color"], True),
    ],
)
def test_colours(environment, options, is_coloured):
    """A36: On a terminal the output is coloured, unless --no-color or NO_COLOR says otherwise."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "DJANGO_COLORS")}

    subprocess.run(
        [sys.executable, "-m", "django", "numflow_features", "market", *options],
        cwd=ROOT,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment},
        stdout=theirs,
        check=True,
    )

    os.close(theirs)
    printed = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "POST /" in printed
    assert ("\x1b[" in printed) == is_coloured
