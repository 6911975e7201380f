"""A person who makes twelve mistakes at once sees each of them in one ``manage.py check``."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.sites import ROOT

STEP = "def answer(ctx, request, response):\n    response.json({})\n"
VIEW = "from numflow_django import FeatureView\n\n\nclass View(FeatureView):\n    {}\n"
SETTINGS = """
SECRET_KEY = "a"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_rq", "numflow_django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": 1}, "mail": {"HOST": "127.0.0.1", "PORT": 1}}
RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}
ROOT_URLCONF = "urls"
USE_TZ = True
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
URLS = """
from django.urls import include, path
from numflow_django import feature_urls
urlpatterns = [path("", include(feature_urls("shop.features")))]
"""


def good(folder, body=None):
    """The files of one feature without a mistake."""
    files = {f"{folder}/steps/100_answer.py": STEP}
    return files if body is None else files | {f"{folder}/feature.py": VIEW.format(body)}


#: The files of each mistake below shop/features, the id, where it is, and what the message must say to do.
MISTAKES = {
    "steps misspelt": ({"one/@get/stpes/100_answer.py": STEP}, "E101", "one/@get/stpes", "did you mean 'steps'?"),
    "tasks misspelt": (
        good("two/@get") | {"two/@get/asyc_tasks/send.py": "def send(ctx): ..."},
        *("E109", "two/@get/asyc_tasks", "did you mean 'async_tasks'?"),
    ),
    "method misspelt": (good("three/@pots"), "E111", "three/@pots", "did you mean '@post'?"),
    "no steps": (
        {"four/feature.py": VIEW.format("pass")},
        "E101",
        "four/steps",
        "add a module such as 100_validate.py",
    ),
    "a hyphen": (
        good("five/@get") | {"five/@get/steps/200-check.py": STEP},
        *("E102", "five/@get/steps/200-check.py", "rename it to 200_check.py"),
    ),
    "a bracket": (good("six/[id/@get"), "E111", "six/[id/@get", "did you mean [id]?"),
    "a converter": (good("seven/[id=integer]/@get"), "E111", "seven/[id=integer]/@get", "did you mean 'int'?"),
    "a task's request": (
        good("eight/@get") | {"eight/@get/async_tasks/100_send.py": "def send(ctx, request): ..."},
        *("E106", "eight/@get/async_tasks/100_send.py", "let a step store what it needs on ctx"),
    ),
    "one route twice": (
        good("nine/@get") | good("nine_again", "path = 'nine/'; method = 'GET'"),
        *("E112", "nine_again", "change the path or the method of one of them"),
    ),
    "a queue": (good("ten", "queue = 'mial'"), "E109", "ten/feature.py", "did you mean 'mail'?"),
    "a number twice": (
        good("eleven/@get") | {"eleven/@get/steps/100_more.py": "def more(ctx): ..."},
        *("E103", "eleven/@get/steps/100_more.py", "renumber one of them, for example 150_more.py"),
    ),
    "syntax": (
        good("twelve/@get") | {"twelve/@get/steps/200_more.py": "def more(ctx)\n    ..."},
        *("E107", "twelve/@get/steps/200_more.py, line 1", "SyntaxError: expected ':'"),
    ),
    "id] for [id]": (good("a/id]/@get"), "E111", "a/id]/@get", "did you mean [id]?"),
    "features without a FeatureView": (
        good("b") | {"b/feature.py": ""},
        *("E109", "b/feature.py", "write class CreateOrder(FeatureView)"),
    ),
    "two FeatureViews": (
        good("c") | {"c/feature.py": VIEW.format("pass") + VIEW.format("pass").replace("View(", "More(")},
        *("E109", "c/feature.py", "it defines More and View; move all but one into another module"),
    ),
    "steps.py": ({"d/@get/steps.py": STEP}, "E108", "d/@get/steps.py", "make it a folder, steps/"),
    "method": (good("e", "method = 'PSOT'"), "E109", "e/feature.py", "did you mean 'POST'?"),
    "decorators": (good("f", "decorators = print"), "E109", "f/feature.py", "write decorators = [...]"),
    "path": (good("g", "path = 5"), "E109", "features/g", "write path = 'api/orders/'"),
    "no function": (
        {"h/@get/steps/100_answer.py": "def one(ctx): ...\ndef two(ctx): ..."},
        *("E105", "h/@get/steps/100_answer.py", "define answer(ctx, request)"),
    ),
    "no feature": ({"i/steps/100_answer.py": STEP}, "E109", "i/steps", "needs a feature.py with a FeatureView"),
    "a parameter of Django's own": (
        good("k/[request]/@get"),
        *("E111", "k/[request]/@get", "rename it, such as request_id"),
    ),
    "an attribute misspelt": (good("l", "decorator = []"), "E109", "l/feature.py", "did you mean 'decorators'?"),
    "no folder for the steps": (
        {"m/@get/100_answer.py": STEP},
        *("E101", "features/m/@get", "move the steps into"),
    ),
    "tasks beside the method": (
        good("n/@post") | {"n/async_tasks/send.py": "def send(ctx): ..."},
        *("E109", "n/async_tasks", "n/@post"),
    ),
    "Numflow's own parameters": (
        {"o/@get/steps/100_answer.py": "def answer(req, res): ..."},
        *("E106", "o/@get/steps/100_answer.py", "asks for 'req' where it cannot get it"),
    ),
    "a module before a folder": (good("j/@get") | {"j.py": ""}, "E111", "features/j.py", "rename the module"),
}
TWELVE = list(MISTAKES)[:12]


@pytest.fixture
def check(tmp_path):
    """Write a site with *files* in shop/features and run ``manage.py check``; give its (id, message, hint)."""

    def run(files):
        site = {"settings.py": SETTINGS, "urls.py": URLS, "manage.py": MANAGE, "shop/__init__.py": ""}
        for name, source in {**site, **{f"shop/features/{name}": source for name, source in files.items()}}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        process = subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONWARNINGS": "", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 1, process.stderr
        assert "Traceback" not in process.stderr
        return re.findall(r"^\?: \(numflow\.(\w+)\) (.+)\n\tHINT: (.+)$", process.stderr, re.MULTILINE)

    return run


def test_twelve_mistakes_are_twelve_errors(check):
    """A4: A folder with twelve mistakes gives exactly twelve errors, each with its id, its place and its remedy."""
    found = check({name: source for title in TWELVE for name, source in MISTAKES[title][0].items()})

    assert len(found) == len(TWELVE) == 12
    for title in TWELVE:
        _, code, place, remedy = MISTAKES[title]
        [message] = [message for _, message, _ in found if place in message and remedy in message]
        [hint] = [hint for each, other, hint in found if (each, other) == (code, message)]
        assert "shop/features/" in message
        assert len(hint) > 40


def test_other_mistakes_are_one_error_each(check):
    """A4: Nor does any other mistake that a person makes with a folder or a name give two errors, or none."""
    others = [title for title in MISTAKES if title not in TWELVE]

    found = check({name: source for title in others for name, source in MISTAKES[title][0].items()})

    assert len(found) == len(others)
    for title in others:
        _, code, place, remedy = MISTAKES[title]
        assert [each for each, message, _ in found if place in message and remedy in message] == [code], title
