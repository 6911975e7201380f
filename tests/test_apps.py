"""A site with broken features does not start; its management commands show every mistake by the checks."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from django.utils.autoreload import StatReloader

from numflow_django.apps import watch_folders
from numflow_django.folders import feature_packages

STEP = "def answer(ctx, request, response): response.json({})\n"
VIEW = "from numflow_django import FeatureView\nclass View(FeatureView): pass\n"
GOOD = {"shop/features/orders/@post/steps/100_answer.py": STEP}
BROKEN = {
    "shop/features/a/@get/steps/validate.py": "",
    "shop/features/b/@get/steps/100_answer.py": "1 / 0",
    "shop/features/c/@pots/steps/100_answer.py": STEP,
    "shop/features/d/feature.py": VIEW,
}
SETTINGS = """
    SECRET_KEY = "a"
    INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_rq", "numflow_django", {apps}]
    DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    RQ_QUEUES = {{"default": {{"HOST": "127.0.0.1", "PORT": 1}}}}
    RQ = {{"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}}
    NUMFLOW = {numflow}
    USE_TZ = True
    ROOT_URLCONF = {urlconf!r}
"""
SETUP = "import django; django.setup(); print('started')"
RESOLVE = "import django; django.setup(); from django.urls import resolve; resolve('/'); print('started')"


@pytest.fixture
def site(tmp_path):
    """Write a site with the app ``shop`` and run Python in it; give the finished process."""

    def run(files, *command, numflow=None, apps="'shop'", urlconf=None):
        everything = {
            "shop/__init__.py": "",
            "site_settings.py": SETTINGS.format(apps=apps, numflow=numflow or {}, urlconf=urlconf),
            **files,
        }
        for name, source in everything.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(source))
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONWARNINGS": ""}
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_a_broken_feature_stops_a_plain_process_with_all_mistakes(site):
    """A4: A process without system checks, such as a WSGI server, stops at start-up and lists every mistake."""
    process = site(BROKEN, "-c", SETUP)

    assert process.returncode == 1
    assert process.stdout == ""
    assert "numflow_django.exceptions.InvalidFeatures: 4 mistakes in the features:" in process.stderr
    codes = [line[:14] for line in process.stderr.splitlines() if line.startswith("(numflow.")]
    assert sorted(codes) == ["(numflow.E101)", "(numflow.E102)", "(numflow.E107)", "(numflow.E111)"]
    assert "shop.a.@get" in process.stderr
    assert "shop/features/a/@get/steps/validate.py is not named <number>_<name>.py" in process.stderr


def test_check_shows_all_mistakes_and_fails(site):
    """A4: ``manage.py check`` of the same site starts, shows every mistake as an error with its id, and exits 1."""
    process = site(BROKEN, "-m", "django", "check")

    assert process.returncode == 1
    assert "System check identified 4 issues" in process.stderr
    for code in ("E101", "E102", "E107", "E111"):
        assert f"(numflow.{code})" in process.stderr
    assert "HINT: A module of a feature raised an error while it was imported." in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("command", [("-c", SETUP), ("-m", "django", "check")], ids=["setup", "check"])
def test_a_good_site_starts(site, command):
    """A4: A site without mistakes starts, whatever its apps are made of."""
    files = GOOD | {
        "single.py": "",  # an app that is a single module
        "flags/__init__.py": "",
        "flags/features.py": "1 / 0",  # another app's module, which is none of our business
    }

    process = site(files, *command, apps="'shop', 'single', 'flags'")

    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("packages", [["shop.flows"], "shop.flows"], ids=["list", "str"])
def test_a_package_of_the_setting_that_is_missing_stops_the_start_up(site, packages):
    """A4: A package of ``NUMFLOW["FEATURES"]`` that does not exist is one mistake, also for a forgotten bracket."""
    process = site(BROKEN, "-c", SETUP, numflow={"FEATURES": packages})

    assert process.returncode == 1
    assert process.stderr.endswith(
        "InvalidFeatures: 1 mistake in the features:\n"
        "(numflow.E108) the package 'shop.flows' of features, named by feature_urls() or NUMFLOW['FEATURES'], does not "
        "exist; create the folder\n"
    )


def test_only_the_packages_of_the_setting_are_scanned(site):
    """A4: With ``NUMFLOW["FEATURES"]``, the apps' own ``features`` are left alone."""
    process = site(BROKEN, "-c", SETUP, numflow={"FEATURES": []})

    assert (process.returncode, process.stdout) == (0, "started\n")


URLCONF = "from numflow_django import feature_urls\nurlpatterns = feature_urls('shop.flows')\n"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "E108"),
        ({"shop/flows/[id=integer]/@get/steps/100_answer.py": STEP}, "E111"),
        ({"shop/flows/a/feature.py": ""}, "E109"),
    ],
)
@pytest.mark.parametrize("command", [("-c", RESOLVE), ("-m", "django", "check")], ids=["request", "check"])
def test_mistakes_that_only_the_urlconf_brings_are_not_passed_over(site, command, files, code):
    """A4: A package that only the URLconf names fails its loading in a server, and shows in the checks."""
    process = site(files | {"site_urls.py": URLCONF}, *command, urlconf="site_urls")

    assert process.returncode == 1
    assert f"(numflow.{code})" in process.stderr
    assert "started" not in process.stdout


def test_the_features_of_every_app_are_scanned_by_default(settings):
    """Without the setting, the packages are those named ``features`` in the installed apps; a str is one package."""
    assert list(feature_packages()) == ["tests.market.features"]

    settings.NUMFLOW = {"FEATURES": ["a", "b.c"]}
    assert list(feature_packages()) == ["a", "b.c"]

    settings.NUMFLOW = {"FEATURES": "b.c"}
    assert list(feature_packages()) == ["b.c"]


def test_a_new_step_restarts_runserver(tree, settings):
    """A2: runserver sees a file that comes into a folder, whatever its name, and not the bytecode of others."""
    steps = tree.root / "orders/[order_id=int]/@get/steps"
    tree.write({"orders/[order_id=int]/@get/steps/100_answer.py": STEP})
    settings.NUMFLOW = {"FEATURES": [tree.package]}
    (steps / "__pycache__").mkdir()
    for folder in (steps, steps / "__pycache__"):
        os.utime(folder, (0, 0))
    reloader = StatReloader()
    watch_folders(reloader)
    before = dict(reloader.snapshot_files())

    (steps / "__pycache__" / "100_answer.cpython.pyc").touch()
    (steps / "150_check.py").touch()

    after = dict(reloader.snapshot_files())
    assert [path for path in after if after[path] != before[path]] == [steps]
