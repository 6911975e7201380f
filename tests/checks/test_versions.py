"""The system checks of what is installed."""

import re
import tomllib

import django
import pytest
from django.core.checks import run_checks

from numflow_django.checks.versions import NEWEST_DJANGO
from tests.support.sites import ROOT

PYPROJECT = ROOT / "pyproject.toml"


@pytest.fixture
def warnings(settings, monkeypatch):
    """The warnings of the check with a version of Django, as (message, hint)."""
    settings.NUMFLOW = {"FEATURES": []}

    def check(*installed):
        monkeypatch.setattr(django, "VERSION", installed)
        return [(each.msg, each.hint) for each in run_checks(tags=["numflow"]) if each.id == "numflow.W212"]

    return check


@pytest.mark.parametrize(
    ("installed", "shown"), [((6, 2, 0, "final", 0), "6.2"), ((7, 0, 1, "final", 0), "7.0.1")], ids=str
)
def test_a_django_that_is_not_tested_is_a_warning(warnings, installed, shown):
    """A Django that is newer than the newest that is tested is a warning, and no reason not to start."""
    assert warnings(*installed) == [
        (
            f"Django {shown} is newer than Django 6.1, the newest that this version of numflow_django is tested with.",
            "Upgrade numflow_django. If there is no newer version, run your own tests before you deploy.",
        )
    ]


@pytest.mark.parametrize("installed", [(5, 2, 0, "final", 0), (6, 1, 9, "final", 0)], ids=str)
def test_a_django_that_is_tested_is_no_warning(warnings, installed):
    """Every release of the versions that are tested is fine."""
    assert warnings(*installed) == []


def test_the_newest_django_is_that_of_the_package():
    """The check, the classifiers and the lower bound of the package name the same versions of Django."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    found = [re.fullmatch(r"Framework :: Django :: (\d+)\.(\d+)", each) for each in project["classifiers"]]
    versions = [(int(match[1]), int(match[2])) for match in found if match]

    assert max(versions) == NEWEST_DJANGO
    assert "django>={}.{}".format(*min(versions)) in project["dependencies"]
