"""The example project's own tests and checks, with its own settings."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.sites import ROOT


def manage(*arguments: str, demo_dir: Path) -> "subprocess.CompletedProcess[str]":
    """Run manage.py; return the finished process."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "example_project.settings", "NUMFLOW_DEMO_DIR": str(demo_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )


def test_its_tests_pass(tmp_path):
    """
    ``manage.py test example_project`` finds the shop's tests, and they pass.
    """
    run = manage("test", "--noinput", "example_project", demo_dir=tmp_path)

    assert run.returncode == 0, run.stdout
    assert int(re.search(r"^Ran ([0-9]+) tests? in", run.stdout, re.MULTILINE)[1]) > 0


def test_its_checks_pass(tmp_path):
    """``manage.py check`` finds nothing, and no migration is missing."""
    assert "no issues" in manage("check", demo_dir=tmp_path).stdout

    run = manage("makemigrations", "--check", "--dry-run", demo_dir=tmp_path)

    assert run.returncode == 0, run.stdout
