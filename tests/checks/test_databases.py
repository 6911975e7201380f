"""The system checks of the databases that hold runs."""

import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connections
from django.db.migrations.recorder import MigrationRecorder

from numflow_django.checks import databases as database_checks
from numflow_django.models import FeatureRun, TaskExecution
from tests.support.sites import Site

STEPS = {"100_answer.py": "def answer(ctx, request, response): response.json({})\n"}
TASKS = {"100_send.py": "def send(ctx): pass\n"}


@pytest.fixture
def errors(settings):
    """The errors of the checks, as (id, message, hint)."""

    def check():
        settings.NUMFLOW = {"FEATURES": []}
        return [(error.id, error.msg, error.hint) for error in run_checks(tags=["numflow"])]

    return check


SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/db.sqlite3"}
LOCKED = (
    "numflow.W204",
    "DATABASES['default'] is SQLite without transaction_mode: requests at the same time would fail with \"database is "
    'locked".',
    'Set "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}; WAL mode is good, too.',
)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (SQLITE, [LOCKED]),
        (SQLITE | {"OPTIONS": {"timeout": 20}}, [LOCKED]),
        (SQLITE | {"OPTIONS": {"transaction_mode": "DEFERRED"}}, [LOCKED]),
        (SQLITE | {"ENGINE": "django.contrib.gis.db.backends.spatialite"}, [LOCKED]),
        (SQLITE | {"OPTIONS": {"transaction_mode": "IMMEDIATE"}}, []),
        (SQLITE | {"OPTIONS": {"transaction_mode": "exclusive"}}, []),
        (SQLITE | {"NAME": ":memory:"}, []),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}, []),
    ],
    ids=str,
)
def test_sqlite_that_locks_late_is_a_warning(errors, settings, monkeypatch, config, found):
    """SQLite in a file whose transactions do not begin with the write lock is a warning that shows the option."""
    monkeypatch.setitem(settings.DATABASES, "default", config)

    assert errors() == found


def test_a_database_without_features_may_be_as_it_is(errors, settings, monkeypatch):
    """A database that holds no run is no business of ours."""
    monkeypatch.setitem(settings.DATABASES, "archive", SQLITE)

    assert errors() == []


class Router:
    """Keeps every table of ours out of all databases but "default"."""

    def allow_migrate(self, db, app_label, **hints):
        return db == "default" if app_label == "numflow_django" else None


class LogKeeper:
    """Keeps the task log only."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return False if model_name == "taskexecution" else None


class Undecided:
    """Has no opinion."""

    def allow_migrate(self, db, app_label, **hints):
        return None


@pytest.fixture
def registered(tree):
    """Write a feature and register it."""

    def register(folder, **facts):
        tree.feature(folder, steps=STEPS, **facts)
        tree.view(folder).as_view()

    return register


LET_IN = (
    "Let its allow_migrate() return True for 'other' and 'numflow_django', and run manage.py migrate --database other."
)


@pytest.mark.parametrize("renewer", [Router, LogKeeper])
def test_a_router_that_keeps_our_tables_out_is_an_error(tree, registered, errors, settings, renewer):
    """A router that keeps a table of ours out of a database with runs is an error that names it and the command."""
    settings.DATABASE_ROUTERS = [Undecided(), object(), renewer()]
    registered("a", tasks=TASKS, using="other")
    registered("b", tasks=TASKS)

    [(code, message, hint)] = [error for error in errors() if "DATABASES['other']" in error[1]]

    assert code == "numflow.E007"
    assert message == (
        f"tests.checks.test_databases.{renewer.__name__} keeps the tables of numflow_django out of DATABASES['other'], "
        f"which holds the runs of {tree.package}.a."
    )
    assert hint == f"{LET_IN} If migrate finds nothing to do, manage.py check --database other says why."


def test_a_router_that_keeps_the_log_of_rollbacks_out_is_a_warning(tree, registered, errors, settings):
    """Features without async tasks need our tables for the log of rolled-back requests only: a warning."""
    settings.DATABASE_ROUTERS = [Router()]
    registered("a", using="other")
    registered("b", using="other", atomic=False)

    assert errors() == [
        (
            "numflow.W210",
            "tests.checks.test_databases.Router keeps the tables of numflow_django out of DATABASES['other']: "
            f"rolled-back requests of {tree.package}.a leave no row.",
            f'{LET_IN} Or set atomic = False, or NUMFLOW["LOG_ROLLBACKS"] = None.',
        )
    ]

    settings.NUMFLOW = {"FEATURES": [], "LOG_ROLLBACKS": None}
    assert run_checks(tags=["numflow"]) == []


def test_routers_that_let_our_tables_in_are_fine(registered, errors, settings):
    """Routers without an opinion on our tables keep nothing out."""
    settings.DATABASE_ROUTERS = [Undecided(), object()]
    registered("a", tasks=TASKS, using="other")

    assert errors() == []


def found(*databases):
    return [(one.id, one.msg, one.hint) for one in database_checks.check_tables(None, databases=databases)]


@pytest.fixture
def without_tables(django_db_setup, django_db_blocker, monkeypatch):
    """The database "other" as if our tables were not there."""
    introspection = connections["other"].introspection
    hidden = {FeatureRun._meta.db_table, TaskExecution._meta.db_table}
    names = introspection.table_names
    monkeypatch.setattr(introspection, "table_names", lambda *a, **k: [n for n in names(*a, **k) if n not in hidden])


MISSING = "The tables of numflow_django are missing in DATABASES['other']."


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("without_tables")
def test_tables_that_are_missing_are_a_warning(registered, monkeypatch):
    """A database with runs and without our tables is a warning that shows the command; migrate itself needs none."""
    monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda self: {})
    registered("a", tasks=TASKS, using="other")

    assert found("default", "other") == [("numflow.W211", MISSING, "Run manage.py migrate --database other.")]

    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    assert found("default", "other") == []


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("without_tables")
def test_tables_that_django_takes_for_made_are_told_how_to_make(registered, monkeypatch):
    """Where Django has recorded the migrations without making the tables, migrate too says what it takes."""
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])
    registered("a", tasks=TASKS, using="other")

    [(code, message, hint)] = found("other")

    assert (code, message) == ("numflow.W211", MISSING)
    assert hint.endswith(
        "Run manage.py migrate --database other --fake numflow_django zero, then manage.py migrate --database other."
    )


@pytest.mark.django_db(databases=["default", "other"])
def test_tables_that_are_there_are_fine(registered):
    """Where our tables are, nothing is said; also for a database that is not checked, or that holds no run."""
    assert found("default", "other") == []
    assert found() == []

    registered("a", tasks=TASKS, using="other")
    assert found("default", "other") == []


@pytest.mark.django_db(databases=["default", "other"])
def test_a_database_that_cannot_be_reached_is_no_mistake(registered, monkeypatch):
    """A database that is down is not taken for one without tables."""

    def refuse(*args, **kwargs):
        raise OperationalError("connection refused")

    registered("a", tasks=TASKS, using="other")
    monkeypatch.setattr(connections["other"].introspection, "table_names", refuse)

    assert found("other") == []


ROUTER = """
    class Router:
        closed = True

        def allow_migrate(self, db, app_label, **hints):
            if db == "records":
                return app_label == "numflow_django" and not self.closed
"""
TWO = """
    from settings import *
    DATABASES["records"] = {**DATABASES["default"], "NAME": Path(__file__).parent / "records.sqlite3"}
    for database in DATABASES.values():
        database["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
    DATABASE_ROUTERS = ["shop.router.Router"]
"""


def test_the_way_from_a_closed_router_to_tables(tmp_path):
    """What the checks say, done one after another, takes a site from a router that keeps us out to our tables."""
    site = Site(tmp_path).write(
        {
            "two.py": TWO,
            "shop/router.py": ROUTER,
            "shop/models.py": "",
            "urls.py": "urlpatterns = []",
            "shop/features/buy/feature.py": "from numflow_django import FeatureView\n\n"
            "class Buy(FeatureView):\n    using = 'records'\n",
            "shop/features/buy/steps/100_answer.py": STEPS["100_answer.py"],
            "shop/features/buy/async_tasks/100_send.py": TASKS["100_send.py"],
        }
    )

    def manage(*command):
        done = site.python("-m", "django", *command, settings="two")
        return done.stdout + done.stderr

    manage("migrate", "--skip-checks", "--database", "records")
    assert "(numflow.E007) shop.router.Router keeps the tables" in manage("check")

    site.write({"shop/router.py": ROUTER.replace("True", "False")})
    assert "numflow.E007" not in manage("check")
    assert "No migrations to apply" in manage("migrate", "--database", "records")
    assert "migrate --database records --fake numflow_django zero" in manage("check", "--database", "records")

    manage("migrate", "--database", "records", "--fake", "numflow_django", "zero")
    assert "numflow.W211" not in manage("migrate", "--database", "records")
    assert "numflow.W211" not in manage("check", "--database", "records")


def test_a_feature_on_a_database_without_an_engine_is_an_error(tree, settings, monkeypatch):
    """With ``"default": {}``, a feature that sets no other database is an error, unless it needs no transaction."""
    monkeypatch.setitem(settings.DATABASES, "default", {})
    tree.feature("a", steps=STEPS)
    tree.feature("b", steps=STEPS, atomic=False)
    tree.feature("c", steps=STEPS, using="other")

    [mistake] = tree.mistakes()

    assert mistake == (
        f"feature {tree.package}.a: {tree.root}/a/feature.py: using = 'default' has no ENGINE in DATABASES; set using "
        "to one of other, or set atomic = False if its steps need no transaction"
    )
