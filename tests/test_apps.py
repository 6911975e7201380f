"""A site with broken features does not start, and its management commands show every mistake in the checks."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from textwrap import dedent
from urllib.request import urlopen

import pytest
from django.utils.autoreload import StatReloader, WatchmanReloader

from numflow_django.apps import watch_features
from numflow_django.routing.scan import feature_packages, scan
from tests.support.brokers import free_port
from tests.support.sites import ROOT
from tests.support.waiting import eventually

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
ENVIRONMENT = {
    **os.environ,
    "DJANGO_SETTINGS_MODULE": "site_settings",
    "PYTHONWARNINGS": "",
    "PYTHONPATH": str(ROOT),
}
SETUP = "import django; django.setup(); print('started')"
RESOLVE = "import django; django.setup(); from django.urls import resolve; resolve('/'); print('started')"


@pytest.fixture
def site(tmp_path):
    """Write a site with the app ``shop`` and run Python in it; return the finished process."""

    def run(files, *command, **options):
        write(tmp_path, files, **options)
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )

    return run


def write(folder, files, *, numflow=None, apps="'shop'", urlconf=None):
    """Write *files* and the files of every site."""
    settings = SETTINGS.format(apps=apps, numflow=numflow or {}, urlconf=urlconf)
    for name, source in {"shop/__init__.py": "", "site_settings.py": settings, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))


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
    """A4: A site without mistakes starts, with apps of any kind."""
    files = GOOD | {
        "single.py": "",  # an app that is a single module
        "flags/__init__.py": "",
        "flags/features.py": "1 / 0",  # a module of another package, which we must not import
    }

    process = site(files, *command, apps="'shop', 'single', 'flags'")

    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("packages", [["shop.flows"], "shop.flows"], ids=["list", "str"])
def test_a_package_of_the_setting_that_is_missing_stops_the_start_up(site, packages):
    """A4: A missing package in ``NUMFLOW["FEATURES"]`` is one mistake, also if the brackets are missing."""
    process = site(BROKEN, "-c", SETUP, numflow={"FEATURES": packages})

    assert process.returncode == 1
    assert process.stderr.endswith(
        "InvalidFeatures: 1 mistake in the features:\n"
        "(numflow.E108) the package 'shop.flows' of features, named by feature_urls() or NUMFLOW['FEATURES'], does not "
        "exist; create the folder\n"
    )


def test_only_the_packages_of_the_setting_are_scanned(site):
    """A4: With ``NUMFLOW["FEATURES"]``, the apps' own ``features`` are not scanned."""
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
    """A4: A package that only the URLconf names stops a server when the URLconf loads, and is in the checks."""
    process = site(files | {"site_urls.py": URLCONF}, *command, urlconf="site_urls")

    assert process.returncode == 1
    assert f"(numflow.{code})" in process.stderr
    assert "started" not in process.stdout


def test_the_features_of_every_app_are_scanned_by_default(settings):
    """Without the setting, each installed app's package ``features`` is scanned; a str is one package."""
    assert list(feature_packages()) == ["tests.market.features"]

    settings.NUMFLOW = {"FEATURES": ["a", "b.c"]}
    assert list(feature_packages()) == ["a", "b.c"]

    settings.NUMFLOW = {"FEATURES": "b.c"}
    assert list(feature_packages()) == ["b.c"]


def test_a_new_step_restarts_runserver(tree, settings):
    """A2: runserver notices a new file in a folder, whatever its name, but no bytecode."""
    steps = tree.root / "orders/[order_id=int]/@get/steps"
    tree.write({"orders/[order_id=int]/@get/steps/100_answer.py": STEP})
    settings.NUMFLOW = {"FEATURES": [tree.package]}
    (steps / "__pycache__").mkdir()
    for folder in (steps, steps / "__pycache__"):
        os.utime(folder, (0, 0))
    reloader = StatReloader()
    watch_features(reloader)
    before = dict(reloader.snapshot_files())

    (steps / "__pycache__" / "100_answer.cpython.pyc").touch()
    (steps / "150_check.py").touch()

    after = dict(reloader.snapshot_files())
    assert [path for path in after if after[path] != before[path]] == [steps]


def test_watchman_watches_all_modules(tree, settings):
    """Watchman reports files but not folders, so it gets the modules of each package as a glob."""
    tree.write({"orders/@get/steps/100_answer.py": STEP})
    settings.NUMFLOW = {"FEATURES": [tree.package]}
    reloader = WatchmanReloader()

    watch_features(reloader)

    assert reloader.directory_globs[tree.root] == {"**/*.py"}
    assert tree.root / "orders/@get/steps" not in reloader.extra_files


def test_the_steps_of_a_feature_that_is_routed_by_hand_are_watched(tree, settings):
    """The folders of steps and tasks of a feature outside the scanned packages are watched too."""
    tree.feature("buy", steps={"100_answer.py": STEP}, tasks={"100_send.py": "def send(ctx): pass"})
    tree.view("buy").as_view()
    settings.NUMFLOW = {"FEATURES": []}
    reloader = StatReloader()

    watch_features(reloader)

    assert {tree.root / "buy/steps", tree.root / "buy/async_tasks"} <= reloader.extra_files


@pytest.mark.parametrize("name", ["shop.features", "no_such_app.features"])
def test_a_package_that_is_missing_does_not_stop_the_reloader(settings, name):
    """A missing package in the setting is a mistake, and runserver goes on watching."""
    settings.NUMFLOW = {"FEATURES": [name]}

    watch_features(StatReloader())


def test_the_files_of_a_failed_import_are_watched(tree, settings):
    """The files of a failed import are watched, also if another error replaced the first one."""
    tree.write(
        {
            "prices.py": "1 / 0",
            "lib.py": f"try:\n    import {tree.package}.prices\nexcept Exception as e:\n    raise RuntimeError from e",
            "features/@get/steps/100_answer.py": f"import {tree.package}.lib",
        }
    )
    settings.NUMFLOW = {"FEATURES": [f"{tree.package}.features"]}
    scan(f"{tree.package}.features")
    reloader = StatReloader()

    watch_features(reloader)

    assert {tree.root / "prices.py", tree.root / "lib.py"} <= reloader.extra_files


LOGGING = """
    DEBUG = True
    LOGGING = {
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"django.utils.autoreload": {"handlers": ["console"], "level": "DEBUG"}},
    }
"""
ROUTES = """
    from django.urls import include, path
    from numflow_django import feature_urls
    urlpatterns = [path("", include(feature_urls("shop.features")))]
"""
#: Seconds that a busy machine may take for one start.
PATIENCE = 60
STEPS = "shop/features/orders/@get/steps"
PRICING = "from shop.pricing import price\n\n" + STEP


class Runserver:
    """``manage.py runserver`` of a site in *folder*, in a process of its own."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.log = folder / "runserver.log"
        write(folder, {"site_urls.py": ROUTES}, urlconf="site_urls")
        with (folder / "site_settings.py").open("a") as settings:
            settings.write(dedent(LOGGING))

    def __enter__(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", "runserver", f"127.0.0.1:{self.port}"],
                cwd=self.folder,
                env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *error):
        os.killpg(self.process.pid, signal.SIGKILL)  # the reloader and its child
        self.process.wait()

    def save_all(self, files):
        """Write *files* before the start."""
        for name, source in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.save(name, source)

    def save(self, name, source):
        """Write a file in place, as an editor does."""
        (self.folder / name).write_text(source)

    def wait_until_down(self):
        """Wait until the mistake is shown and the server no longer responds."""
        eventually(lambda: "numflow.E107" in self.last_start, timeout=PATIENCE, message="no mistake is shown")

    def wait_until_watched(self, name):
        """Wait until the reloader has seen *name*, so that it notices the next change."""
        seen = f"File {self.folder / name} first seen"
        eventually(lambda: seen in self.last_start, timeout=PATIENCE, message=f"{name} is not watched")

    @property
    def last_start(self):
        """Return the output since the last start."""
        return self.log.read_text().rpartition("Watching for file changes with")[2]

    def wait_for_answer(self):
        """Wait until the site responds."""

        def answers():
            with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/orders/", timeout=PATIENCE) as answer:
                return answer.status == 200

        eventually(answers, timeout=PATIENCE, message="runserver does not answer")


@pytest.fixture
def runserver(tmp_path):
    return Runserver(tmp_path.resolve())


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("files", "name", "fixed"),
    [
        ({f"{STEPS}/100_answer.py": "def answer(ctx) pass"}, f"{STEPS}/100_answer.py", STEP),
        ({f"{STEPS}/100_answer.py": "import nonsense\n" + STEP}, f"{STEPS}/100_answer.py", STEP),
        (
            {f"{STEPS}/100_answer.py": STEP, "shop/features/orders/@get/feature.py": "class View("},
            "shop/features/orders/@get/feature.py",
            VIEW,
        ),
        ({f"{STEPS}/100_answer.py": PRICING, "shop/pricing.py": "def price(: pass"}, "shop/pricing.py", "price = 1"),
    ],
    ids=["syntax", "import", "feature.py", "elsewhere"],
)
def test_runserver_comes_back_when_a_broken_file_is_fixed(runserver, files, name, fixed):
    """
    After a file with a failed import is fixed in place, in a feature's folder or elsewhere, runserver responds again.
    """
    runserver.save_all(files)

    with runserver:
        runserver.wait_until_down()
        runserver.wait_until_watched(name)
        runserver.save(name, fixed)

        runserver.wait_for_answer()


@pytest.mark.e2e
def test_runserver_comes_back_when_a_missing_module_is_written(runserver):
    """After the missing module that a step imports is written, runserver responds again."""
    runserver.save_all({f"{STEPS}/100_answer.py": PRICING})

    with runserver:
        runserver.wait_until_down()
        runserver.wait_until_watched("shop")
        runserver.save("shop/pricing.py", "price = 1")

        runserver.wait_for_answer()


@pytest.mark.e2e
def test_runserver_comes_back_after_a_new_step_that_is_broken(runserver):
    """A2: A broken new step stops a running server; after it is fixed in place, the server responds again."""
    runserver.save_all({f"{STEPS}/100_answer.py": STEP})

    with runserver:
        runserver.wait_for_answer()
        runserver.wait_until_watched(STEPS)
        runserver.save(f"{STEPS}/050_check.py", "def check(ctx) pass")
        runserver.wait_until_down()
        runserver.wait_until_watched(f"{STEPS}/050_check.py")
        runserver.save(f"{STEPS}/050_check.py", "def check(ctx): pass")

        runserver.wait_for_answer()
