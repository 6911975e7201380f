"""Django projects on disk, made of what a page of the docs shows, each at work in a process of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

ROOT = Path(__file__).parent.parent.parent

SETTINGS = """
    from pathlib import Path
    SECRET_KEY = "docs"
    ROOT_URLCONF = "urls"
    ALLOWED_HOSTS = ["*"]
    USE_TZ = True
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3"}}
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_rq", "numflow_django", "shop"]
    MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
    RQ_QUEUES = {"default": {"URL": "redis://127.0.0.1:1/0"}}
    RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # from Django 6.1 on
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
PRELUDE = """
import json
import django
django.setup()
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)
call_command("check")
from numflow_django.models import FeatureRun, TaskExecution
from numflow_django.testing import run_pending
from shop.models import *

def post(path, data):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.post(path, data, content_type="application/json")

def run_tasks():
    "Run what is due, as a worker would; give the runs' states."
    run_pending()
    return list(FeatureRun.objects.order_by("pk").values_list("state", flat=True))

def run_again():
    "Let the time come that runs wait for; run them."
    for run in FeatureRun.objects.filter(state="waiting"):
        run.skip_wait()
    return run_tasks()

"""


def python_blocks(markdown: str) -> list[str]:
    """The Python code of a page."""
    return re.findall(r"^ *```python\n(.*?)^ *```", markdown, re.DOTALL | re.MULTILINE)


def files_in(markdown: str) -> dict[str, str]:
    """The files that the Python code of a page shows: each ``# path.py`` line begins one."""
    files: dict[str, str] = {}
    for block in python_blocks(markdown):
        parts = re.split(r"^# (\S+\.py)\n", block, flags=re.MULTILINE)[1:]
        files |= dict(zip(parts[::2], parts[1::2], strict=True))
    return files


class Site:
    """A project in *folder*: settings, and the files that it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write({"settings.py": dedent(SETTINGS), "shop/__init__.py": ""})

    def write(self, files: dict[str, str]) -> "Site":
        """Write *files*, relative path -> source."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text), encoding="utf-8")
        return self

    def run(self, program: str, settings: str = "settings") -> Any:
        """What *program* leaves in ``result``; it may use post(), run_tasks(), run_again(), mail and the models."""
        done = self.python("-c", PRELUDE + dedent(program) + "\nprint(json.dumps(result))", settings=settings)
        assert done.returncode == 0, done.stderr
        self.log = done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def python(self, *arguments: str, settings: str = "settings") -> "subprocess.CompletedProcess[str]":
        """Run Python in the project's folder."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": f"{self.folder}:{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
