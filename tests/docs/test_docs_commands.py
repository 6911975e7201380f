"""The reference of the commands describes each command, option and JSON key."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.support.sites import ROOT

PAGE = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SOURCES = [
    file
    for folder in ("numflow_django", "example_project/shop")
    for file in sorted((ROOT / folder / "management/commands").glob("[!_]*.py"))
]


@pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
def test_every_command_and_option_is_there(source: Path) -> None:
    """Each command has its heading, and the text below the heading names each of its options."""
    text = source.read_text(encoding="utf-8")
    arguments = re.findall(r'add_argument\(\s*"([\w-]+)"', text)

    assert len(arguments) == text.count("add_argument(")
    assert [name for name in arguments if name.startswith("--") and f"`{name}`" not in SECTIONS[source.stem]] == []


def test_every_key_of_the_json_is_there() -> None:
    """Each key of a feature in the JSON has its row."""
    out = StringIO()
    call_command("numflow_features", "market", "--json", stdout=out)
    [feature] = json.loads(out.getvalue())["features"]

    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", SECTIONS["numflow_features"], re.MULTILINE))
    assert list(rows) == list(feature)
    assert re.findall(r"`(\w+)`", rows["steps"]) == list(feature["steps"][0])
    inner = {*re.findall(r"`(\w+)`", rows["async_tasks"]), *feature["steps"][0]} - {"null"}
    assert inner == set(feature["async_tasks"][0])
