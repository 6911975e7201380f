"""Follows the how-to page in a new site: its commands, their output, and the behaviour of the features."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.sites import ROOT

PAGE = (ROOT / "docs" / "how-to/start-a-feature.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)

SETTINGS = """
    INSTALLED_APPS += ["django_rq", "numflow_django", "shop", "stall"]
    RQ_QUEUES = {"default": {"URL": "redis://127.0.0.1:1/0"}}
    RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
"""
#: The same site, where every page requires a login.
CLOSED_SETTINGS = """
    from config.settings import *
    MIDDLEWARE += ["django.contrib.auth.middleware.LoginRequiredMiddleware"]
"""
CLOSED = ("stall/close", "--typed")
#: Sends the requests of the printed curl lines, as a client without cookies.
ASK = """
    import django, json, sys
    django.setup()
    from django.core.management import call_command
    from django.test import Client
    call_command("migrate", verbosity=0)
    client = Client(enforce_csrf_checks=True, headers={"host": "127.0.0.1"})
    answers = {}
    for method, url, data in json.loads(sys.argv[1]):
        answer = client.generic(method, url, data, content_type="application/json" if data else "")
        answers[f"{method} {url}"] = [answer.status_code, answer.content.decode()]
    print(json.dumps(answers))
"""
#: More features than the page shows: each method, Korean names, names that Python reserves, with and without types.
MORE = (
    ("shop/api/orders/[order_id=int]/@put",),
    ("shop/api/orders/[order_id=int]/lines/[line=uuid]/@patch", "--typed"),
    ("shop/api/orders/[order_id=int]/@delete",),
    ("shop/api/orders/@get", "--typed"),
    ("shop/주문/@post",),
    ("shop/import", "--typed"),
    ("shop/window", "--method", "get"),
    ("shop/CloseDoor", "--path", "doors/<slug:door>/", "--no-task", "--typed"),
    ("shop/[task]/[class]/[name]/@post",),
)
#: Writes them in one process. Only for the first one the URLconf is not loaded yet, and none needs it.
START = """
    import django, json, sys
    django.setup()
    from django.core.management import call_command
    for arguments in json.loads(sys.argv[1]):
        call_command("startfeature", *arguments)
"""

ANSWERS = {
    "POST /create_order/": [201, {"name": "Minji"}],
    "GET /api/orders/": [200, {"items": []}],
    "GET /api/orders/1/": [200, {"order_id": 1}],
    "PUT /api/orders/1/": [200, {"order_id": 1, "name": "Minji"}],
    "POST /v1/open/": [201, {"name": "Minji"}],
}


class Site:
    """A new project, with functions for its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed: dict[str, str] = {}

    def python(self, *arguments: str, settings: str = "config.settings") -> str:
        """Run Python in the site. Return its stdout and, unless it may fail, its stderr."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DATABASE"))},
                "DJANGO_SETTINGS_MODULE": settings,
                "PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def manage(self, *arguments: str, **options: str) -> str:
        """Run manage.py."""
        return self.python("manage.py", *arguments, **options)

    def follow(self, page: list[tuple[str, str]]) -> None:
        """Do what the blocks of *page* say, except ``test``, which has a test of its own."""
        for language, text in page:
            if language == "python":
                with (self.folder / "config/urls.py").open("a") as urls:
                    urls.write(text)
            for line in text.splitlines() if language == "sh" else ():
                words = shlex.split(line)
                if words[2] != "test":
                    self.printed[line] = self.manage(*words[2:])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site of the page, with more features than the page shows."""
    site = Site(tmp_path_factory.mktemp("site"))
    subprocess.run([sys.executable, "-m", "django", "startproject", "config", site.folder], check=True)
    site.manage("startapp", "shop")
    site.manage("startapp", "stall")
    with (site.folder / "config/settings.py").open("a") as settings:
        settings.write(dedent(SETTINGS))
    site.follow(BLOCKS)
    site.printed["more"] = site.python("-c", dedent(START), json.dumps(MORE))
    (site.folder / "stall/tests.py").unlink()
    (site.folder / "stall/tests").mkdir()
    (site.folder / "stall/tests/__init__.py").touch()
    with (site.folder / "config/urls.py").open("a") as urls:
        urls.write('urlpatterns += [path("v<int:version>/", include(feature_urls("stall.features")))]\n')
    site.printed["stall"] = site.manage("startfeature", "stall/open")
    (site.folder / "config/closed.py").write_text(dedent(CLOSED_SETTINGS))
    site.printed["closed"] = site.manage("startfeature", *CLOSED, settings="config.closed")
    return site


def test_the_page_prints_what_the_commands_print(site: Site) -> None:
    """Each block of output on the page is the output of the command before it."""
    commands = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
    outputs = [text for language, text in BLOCKS if language == "text"]

    assert site.printed[commands[0]].startswith(outputs[0])
    assert "\n".join(f"  {line}" for line in url_lines()) in site.printed[commands[0]]
    assert site.printed[commands[-1]] == outputs[1]
    next_commands = site.printed[commands[0]].partition("Next:\n")[2].splitlines()
    assert next_commands[:2] == [f"  {command}" for command in commands[1:3]]


def url_lines() -> list[str]:
    """Return the lines for the URLconf, as the page shows them."""
    block = next(text for language, text in BLOCKS if language == "python")
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def test_the_checks_pass(site: Site) -> None:
    """``manage.py check`` finds no mistake in any of the features."""
    assert "no issues" in site.manage("check")


def test_the_curl_lines_are_answered(site: Site) -> None:
    """The features respond to the curl lines that the command printed."""
    lines = [line for text in site.printed.values() for line in text.splitlines() if line.startswith("  curl -i ")]
    printed = site.python("-c", dedent(ASK), json.dumps([asked(shlex.split(line)) for line in lines]))

    answers = json.loads(printed.splitlines()[-1])
    assert len(answers) == 5 + len(MORE)
    assert {request: status for request, (status, _) in answers.items() if status not in {200, 201, 204}} == {}
    assert {request: [answers[request][0], json.loads(answers[request][1])] for request in ANSWERS} == ANSWERS


def asked(words: list[str]) -> list[str]:
    """Return method, URL and data of a curl line."""
    data = words[words.index("-d") + 1] if "-d" in words else ""
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if data else "GET"
    return [method, words[-1].removeprefix("http://127.0.0.1:8000"), data]


def test_the_tests_pass(site: Site) -> None:
    """``manage.py test`` finds the test of every feature, and all pass."""
    printed = site.manage("test")

    assert len(list(site.folder.rglob("test_*.py"))) == 5 + len(MORE)
    assert re.search(r"^Found ([0-9]+) test", printed, re.MULTILINE)[1] == "24"  # type: ignore[index]


def test_a_test_logs_in_where_the_site_asks_for_it(site: Site) -> None:
    """Under LoginRequiredMiddleware, the generated test logs in, and the output warns about curl."""
    assert "\nOK" in site.manage("test", "stall.tests.test_close", settings="config.closed")
    assert "# LoginRequiredMiddleware sends curl to the login, unless" in site.printed["closed"]
    assert "LoginRequiredMiddleware" not in site.printed["stall"]


def test_pytest_passes(site: Site) -> None:
    """pytest finds the same tests, and all pass."""
    printed = site.python("-m", "pytest", "-q", "--ds=config.settings", "--rootdir=.", "-p", "no:cacheprovider")

    assert "24 passed" in printed


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
def test_ruff_passes(site: Site) -> None:
    """ruff's own rules, its import order and its format accept every generated file."""
    generated = [str(path) for path in site.folder.rglob("*.py") if is_generated(path)]

    # The user chose a Korean module name
    site.python("-m", "ruff", "check", "--isolated", "--extend-select=I", "--ignore=N999", *generated)
    site.python("-m", "ruff", "format", "--isolated", "--check", *generated)


def is_generated(path: Path) -> bool:
    """Return whether startfeature wrote *path*."""
    return "features" in path.parts or path.name.startswith("test_")


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_passes_what_is_typed(site: Site) -> None:
    """mypy in strict mode accepts the files of ``--typed``."""
    typed = [arguments[0] for arguments in [*MORE, CLOSED] if "--typed" in arguments]
    tests = [
        str(test) for test in site.folder.rglob("test_*.py") if "self) -> None" in test.read_text(encoding="utf-8")
    ]
    # Ignore the package's own types, which the project's run of mypy checks
    settings = "[mypy]\nstrict = true\nfollow_imports = silent\ncache_dir = cache\n"
    (site.folder / "mypy.ini").write_text(settings)

    assert len(tests) == len(typed)
    site.python("-m", "mypy", *(target.replace("/", "/features/", 1) for target in typed), *tests)


def test_nothing_else_was_left(site: Site) -> None:
    """The commands leave only the files that they name."""
    written = {path.name for path in site.folder.rglob("*.py") if is_generated(path)}

    assert all(any(name in text for text in site.printed.values()) for name in written)
