"""The README's own example, written to disk as it stands there and run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

SETTINGS = """
    from pathlib import Path
    SECRET_KEY = "readme"
    ROOT_URLCONF = "urls"
    ALLOWED_HOSTS = ["*"]
    USE_TZ = True
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parent / "db.sqlite3"}}
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_rq", "numflow_django", "shop"]
    MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
    RQ_QUEUES = {"default": {"URL": "redis://127.0.0.1:1/0"}}
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
MODELS = """
    from django.db import models
    class Order(models.Model):
        sku = models.CharField(max_length=20)
"""
PROGRAM = """
    import json
    import django
    django.setup()
    from django.core import mail
    from django.core.management import call_command
    from django.test import Client
    call_command("makemigrations", "shop", verbosity=0)
    call_command("migrate", verbosity=0)
    call_command("check")
    answer = Client(enforce_csrf_checks=True).post("/api/orders/", %r, content_type="application/json")
    from numflow_django import runner
    from numflow_django.models import FeatureRun
    from shop.models import Order
    for run in FeatureRun.objects.all():
        runner.run(run.pk, 1, worker="readme")
    mail.outbox = getattr(mail, "outbox", [])
    print(json.dumps({
        "status": answer.status_code,
        "body": answer.json(),
        "states": list(FeatureRun.objects.values_list("state", flat=True)),
        "mails": [message.body for message in mail.outbox],
        "orders": list(Order.objects.values_list("sku", flat=True)),
    }))
"""


def readme_files() -> dict[str, str]:
    """The files of the README's feature: each ``# path.py`` line of its code begins one."""
    block = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "feature.py" in block)
    parts = re.split(r"^# (\S+\.py)\n", block, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A new Django project that holds what the README shows, and nothing else of numflow_django."""
    urls = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "urlpatterns" in block)
    urlpatterns = urls.partition("# urls.py\n")[2]
    files = {
        "settings.py": dedent(SETTINGS),
        "urls.py": f"from django.urls import include, path\n{urlpatterns}",
        "shop/__init__.py": "",
        "shop/models.py": dedent(MODELS),
        **readme_files(),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def post(site: Path, body: str) -> dict[str, object]:
    """Post *body* in a process of its own; give what came of it."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(PROGRAM) % body],
        cwd=site,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_readmes_feature_works_as_it_is_printed(site: Path) -> None:
    """A folder copied from the README answers 201, and its task sends the mail."""
    outcome = post(site, '{"sku": "A-1"}')

    assert outcome == {
        "status": 201,
        "body": {"id": 1},
        "states": ["succeeded"],
        "mails": ["Order 1"],
        "orders": ["A-1"],
    }


def test_the_readmes_validation_refuses(site: Path) -> None:
    """The README's StepError is a 400 with its message, and no run is written."""
    outcome = post(site, "{}")

    assert outcome["status"] == 400
    assert outcome["body"] == {
        "error": {"message": "sku is required", "status": 400, "step": {"number": 100, "name": "validate"}}
    }
    assert outcome["states"] == outcome["orders"] == []


def test_a_step_dropped_into_the_readmes_folder_runs(site: Path) -> None:
    """A2: A file inserted between two steps runs between them, with no other edit."""
    step = site / "shop/features/create_order/steps/150_check_coupon.py"
    step.write_text("def check_coupon(ctx):\n    ctx.sku += ' with coupon'\n")

    outcome = post(site, json.dumps({"sku": "A-1"}))

    assert outcome["orders"] == ["A-1 with coupon"]
    assert outcome["states"] == ["succeeded"]


def test_the_readme_names_the_two_commands() -> None:
    """The README's two commands are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()

    for command in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
