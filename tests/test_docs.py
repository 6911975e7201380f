"""The docs drift from the code only over these tests' dead bodies."""

import re
from pathlib import Path

import pytest

from numflow_django import exceptions
from numflow_django.conf import KEYS
from numflow_django.exceptions import FeatureConfigurationError

ROOT = Path(__file__).parent.parent
SETTINGS = (ROOT / "docs/reference/settings.md").read_text()
BEHAVIOURS = (ROOT / "docs/reference/behaviours.md").read_text()

CODES = sorted(
    {
        thing.code
        for thing in vars(exceptions).values()
        if isinstance(thing, type)
        and issubclass(thing, FeatureConfigurationError)
        and thing is not FeatureConfigurationError
    }
    | set(re.findall(r'id="(numflow\.\w+)"', (ROOT / "numflow_django/checks.py").read_text()))
)
DOCSTRING_IDS = {
    found
    for file in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "example_project").rglob("test_*.py")]
    for line in re.findall(r'"""((?:[A-D]\d+(?:, )?)+):', file.read_text(encoding="utf-8"))
    for found in line.split(", ")
}


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_its_row(key: str) -> None:
    """Each key of NUMFLOW is in the reference of the settings."""
    assert f"| `{key}` |" in SETTINGS


@pytest.mark.parametrize("code", CODES)
def test_every_check_has_its_row(code: str) -> None:
    """Each id of a system check is in the reference."""
    assert f"| `{code}` |" in SETTINGS


@pytest.mark.parametrize("behaviour", re.findall(r"^\| ([A-D]\d+) \|", BEHAVIOURS, re.MULTILINE))
def test_every_behaviour_of_the_table_has_a_test(behaviour: str) -> None:
    """An id in the table of behaviours stands in the docstring of at least one test."""
    assert behaviour in DOCSTRING_IDS


def test_the_errors_codes_are_unique() -> None:
    """No two kinds of mistakes share a code."""
    classes = [thing for thing in vars(exceptions).values() if isinstance(thing, type) and "code" in vars(thing)]
    codes = [thing.code for thing in classes]

    assert len(codes) == len(set(codes))
