"""A user's folder of features under ``mypy --strict``, from outside the package, and the same folder at work."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support.sites import ROOT

SITE = ROOT / "tests/typed"

WITHOUT_STUBS = """
[mypy]
strict = true
ignore_missing_imports = true
disallow_subclassing_any = false
warn_return_any = false
[mypy-numflow_django.*]
follow_imports = silent
"""

PROGRAM = """
import django, json
django.setup()
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
call_command("migrate", run_syncdb=True, verbosity=0)
client = Client()
answers = [client.post("/api/orders/", {"sku": "A-1"}, content_type="application/json"), client.get("/orders/1/")]
from numflow_django.execution import runner
from numflow_django.models import FeatureRun, TaskExecution
runner.run(FeatureRun.objects.get().pk, 1, worker="typed")
print(json.dumps([
    [(answer.status_code, answer.json()) for answer in answers],
    list(TaskExecution.objects.order_by("position").values_list("name", "state")),
]))
"""


def run(*arguments, **environment):
    """Run Python in the folder of the typed shop, with numflow_django among the installed packages."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}", "DJANGO_SETTINGS_MODULE": "settings", **environment}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], cwd=SITE, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """What mypy says, with one cache for all tests."""
    pytest.importorskip("mypy", reason="mypy is not installed here")
    cache = tmp_path_factory.mktemp("mypy")

    def check(*arguments, **environment):
        done = run("-m", "mypy", "--cache-dir", str(cache), *arguments, **environment)
        return done.stdout + done.stderr

    check.cache = str(cache)
    return check


def errors(output):
    """(line of mistakes/steps.py, message) of each error."""
    found = re.findall(r"^mistakes/steps\.py:(\d+): error: (.*?)  \[[\w-]+\]$", output, re.MULTILINE)
    assert len(found) == output.count(": error: "), output
    return [(int(line), message) for line, message in found]


def expected():
    lines = (SITE / "mistakes/steps.py").read_text().splitlines()
    return {number: line.partition("  # E: ")[2] for number, line in enumerate(lines, start=1) if "# E: " in line}


def test_a_typed_app_passes_the_docs_commands(mypy, tmp_path):
    """
    Steps, async steps, tasks with all rules, hooks, a Retry, the answers and start_run pass; @get is checked too.

    The commands are those of docs/how-to/type-your-features.md.
    """
    page = (ROOT / "docs/how-to/type-your-features.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "mypy").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mypy "$@"\n')
    (tmp_path / "mypy").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    env["MYPY_CACHE_DIR"] = mypy.cache

    done = subprocess.run(["sh", "-ec", commands], cwd=SITE, env=env, capture_output=True, text=True, check=False)

    assert [re.sub(r"\d+", "N", line) for line in done.stdout.splitlines()] == [
        "Success: no issues found in N source files",
        "Success: no issues found in N source file",
    ]


def test_mistakes_are_told(mypy):
    """A misspelt key, a wrong type, a misspelt rule or name: mypy says what is wrong on its line, and no more."""
    found = errors(mypy("-p", "mistakes"))

    assert {line for line, _ in found} == set(expected())
    for number, text in expected().items():
        assert [message for line, message in found if line == number and message.startswith(text)], (number, found)


def test_a_typed_feature_passes_without_stubs(mypy, tmp_path):
    """Without django-stubs, where Django is untyped, the features pass, and a context's mistakes are still reported."""
    config = tmp_path / "mypy.ini"
    config.write_text(WITHOUT_STUBS)
    options = ["--config-file", str(config), "--no-site-packages", "--exclude", "/@"]
    environment = {"MYPYPATH": str(ROOT), "PYTHONPATH": ""}

    assert mypy(*options, "-p", "shop", **environment).startswith("Success: no issues found in ")
    assert {11, 12, 16, 17} < {line for line, _ in errors(mypy(*options, "-p", "mistakes", **environment))}


def test_a_typed_feature_works():
    """A context class that only annotates needs nothing at run time: steps, a retry and tasks do their work."""
    done = run("-c", PROGRAM)

    assert done.returncode == 0, done.stderr
    answers, tasks = json.loads(done.stdout.splitlines()[-1])
    assert [(status, body.get("id")) for status, body in answers] == [(201, 1), (200, 1)]
    assert answers[1][1] == {"id": 1, "sku": "A-1"}
    assert tasks == [["send_email", "succeeded"], ["publish", "succeeded"]]


def test_the_package_says_that_it_is_typed():
    """The marker that type checkers look for is in the package, and so in the wheel (.ci/wheel_contents.py)."""
    assert (ROOT / "numflow_django/py.typed").is_file()
