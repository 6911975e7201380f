"""The import contracts of pyproject.toml: each one can be broken, so each one guards something."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sites import ROOT

DIRECTIONS = "A request flows down, never up"
BROKER = "Only broker, worker and jobs know RQ and Redis"
CIRCLES = "No modules of one package import each other in a circle"
OPTIONAL = "Only contrib knows packages that may not be there"


def contracts_of(project: Path) -> dict[str, bool]:
    """Return the name of each contract, and whether the package in the folder *project* keeps it."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    shown = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False)
    kept = {
        name: verdict == "KEPT" for name, verdict in re.findall(r"^(.+?) (KEPT|BROKEN)", shown.stdout, re.MULTILINE)
    }
    assert kept, shown.stdout + shown.stderr
    return kept


@pytest.fixture
def project(tmp_path):
    """Return a copy of the package and its contracts, in which a test may write."""
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    shutil.copytree(ROOT / "numflow_django", tmp_path / "numflow_django", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_its_contracts(project):
    """
    Nothing imports against the directions of the packages.
    """
    assert contracts_of(project) == dict.fromkeys([DIRECTIONS, BROKER, CIRCLES, OPTIONAL], True)


@pytest.mark.parametrize(
    ("module", "source", "broken"),
    [
        ("request/new.py", "from numflow_django.execution import runner", DIRECTIONS),
        ("execution/new.py", "from numflow_django.request import http", DIRECTIONS),
        ("worker/new.py", "from numflow_django import views", DIRECTIONS),
        ("broker/new.py", "from numflow_django.outbox import record", DIRECTIONS),
        ("context/new.py", "from numflow_django import models", DIRECTIONS),
        ("discovery/new.py", "from numflow_django.routing import paths", DIRECTIONS),
        ("db/new.py", "from numflow_django import context", DIRECTIONS),
        ("utils.py", "", DIRECTIONS),
        ("request/new.py", "import rq", BROKER),
        ("outbox/new.py", "import django_rq", BROKER),
        ("management/commands/new.py", "from redis import Redis", BROKER),
        ("routing/new.py", "import rest_framework", OPTIONAL),
        ("discovery/listing.py", "from numflow_django.discovery import registry", CIRCLES),
    ],
)
def test_a_module_that_breaks_a_contract(project, module, source, broken):
    """
    A module that no contract names is covered by the contract of its package; one that is in no package breaks it.
    """
    (project / "numflow_django" / module).write_text(source)

    assert contracts_of(project)[broken] is False


def test_the_page_names_every_place():
    """
    ARCHITECTURE.md says of each package and module at the top what is there.
    """
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = page.partition("## The packages")[2].partition("## Where to start")[0]
    places = {
        path.stem + "/" * path.is_dir()
        for path in (ROOT / "numflow_django").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }

    assert sorted(places - {"__init__", "migrations/"} - set(re.findall(r"`(\w+/?)`", table))) == []


def test_the_page_names_what_exists():
    """
    The files that ARCHITECTURE.md proposes to open are there.
    """
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    files = re.findall(r"`([a-z_]+/(?:[a-z_]+/)*[a-z_]+\.py)`", page)

    assert len(files) > 5
    assert [file for file in files if not (ROOT / "numflow_django" / file).is_file()] == []
