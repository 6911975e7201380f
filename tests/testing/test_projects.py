"""Follows the how-to page "Test a feature" in a new Django project without Redis."""

import os
import re
import subprocess
import sys
from textwrap import dedent

import pytest

from tests.support.sites import ROOT

PAGE = (ROOT / "docs" / "how-to/test-a-feature.md").read_text(encoding="utf-8")

#: The settings of startproject that matter here: the tests' database is SQLite in memory.
SITE = {
    "settings.py": """
        SECRET_KEY = "scratch"
        ROOT_URLCONF = "urls"
        USE_TZ = True
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_rq", "numflow_django", "shop"]
        RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": 1}}
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        MAILERS = {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}
    """,
    "urls.py": """
        from django.urls import include, path
        from numflow_django import feature_urls
        urlpatterns = [path("", include(feature_urls("shop.features")))]
    """,
    "manage.py": """
        import os, sys
        from django.core.management import execute_from_command_line
        os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
        execute_from_command_line(sys.argv)
    """,
    "shop/__init__.py": "",
    "shop/tests/__init__.py": "",
    "shop/models.py": """
        from django.db import models
        class Order(models.Model):
            sku = models.CharField(max_length=20)
        class DailySales(models.Model):
            orders = models.IntegerField(default=0)
    """,
    "shop/features/create_order/feature.py": """
        from numflow_django import FeatureView
        class CreateOrder(FeatureView):
            path = "api/orders/"
            method = "POST"
    """,
    "shop/features/create_order/steps/100_create_order.py": """
        from numflow_django import StepError
        from shop.models import Order
        def create_order(ctx, request, response):
            if not request.data["sku"]:
                raise StepError("sku is required")
            ctx.sku = request.data["sku"]
            ctx.order = Order.objects.create(sku=ctx.sku)
            response.json({"id": ctx.order.pk}, status=201)
    """,
    "shop/features/create_order/async_tasks/100_send_email.py": """
        from django.core.mail import send_mail
        from numflow_django import async_task
        @async_task(max_attempts=3)
        def send_email(ctx):
            send_mail("Thank you", f"Order {ctx.order.pk}", None, ["buyer@example.com"])
    """,
    "shop/features/create_order/async_tasks/200_count_order.py": """
        from numflow_django import async_task
        from shop.models import DailySales
        @async_task(atomic=True)
        def count_order(ctx):
            day, _ = DailySales.objects.get_or_create(pk=1)
            day.orders += 1
            day.save()
    """,
}


@pytest.fixture
def site(tmp_path):
    """A project with one feature and the files of the page."""
    parts = re.split(r"^```python\n# (\S+\.py)\n(.*?)^```\n", PAGE, flags=re.MULTILINE | re.DOTALL)
    shown = dict(zip(parts[1::3], parts[2::3], strict=True))
    assert len(shown) == PAGE.count("```python")
    for name, text in {**SITE, **shown}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    return tmp_path


def run(site, *arguments):
    """Run Python there; return its exit code and output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=site,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "DJANGO_SETTINGS_MODULE": "settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_manage_py_test(site):
    """C15, D9: The page's tests pass under Django's own runner, without a Redis, in any order."""
    for order in ([], ["--reverse"]):
        code, output = run(site, "manage.py", "test", "--pattern", "test_[!w]*.py", *order)

        assert code == 0, output
        assert "Ran 9 tests" in output


def test_pytest(site):
    """The page's tests and its fixture work with pytest-django; the plugin loads before Django's apps are ready."""
    code, output = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "shop")

    assert code == 0, output
    assert "10 passed" in output


def test_what_cannot_be_patched(site):
    """
    As the page says: a dotted name with a number is a ValueError, and a step's or task's own function is not replaced.
    """
    (site / "shop/tests/test_patching.py").write_text(
        dedent("""
        from importlib import import_module
        from unittest import mock
        from django.core import mail
        from django.test import TestCase
        from numflow_django.testing import run_pending

        FOLDER = "shop.features.create_order"

        class Patching(TestCase):
            def test_by_its_dotted_name(self):
                with self.assertRaises(ValueError), mock.patch(f"{FOLDER}.async_tasks.100_send_email.send_mail"):
                    pass

            def test_the_functions_themselves(self):
                step = import_module(f"{FOLDER}.steps.100_create_order")
                task = import_module(f"{FOLDER}.async_tasks.100_send_email")
                with mock.patch.object(step, "create_order") as first, mock.patch.object(task, "send_email") as second:
                    self.client.post("/api/orders/", {"sku": "A-1"}, content_type="application/json")
                    run_pending()
                self.assertEqual((first.called, second.called, len(mail.outbox)), (False, False, 1))
        """)
    )

    code, output = run(site, "manage.py", "test", "shop.tests.test_patching")

    assert code == 0, output
    assert "Ran 2 tests" in output


def test_an_assertion_that_fails(site):
    """The output has the difference and the task's traceback, and no line of our own code."""
    (site / "shop/tests/test_fails.py").write_text(
        dedent("""
        from django.test import TestCase
        from numflow_django import start_run
        from numflow_django.testing import assert_run, run_pending

        class Fails(TestCase):
            def test_it(self):
                start_run("shop.create_order")
                run_pending(waiting=True)
                assert_run("shop.create_order")
        """)
    )

    code, output = run(site, "manage.py", "test", "shop.tests.test_fails")

    assert code == 1
    shown = output.partition("FAIL: test_it")[2]
    assert "AssertionError: state: failed, not succeeded" in shown
    assert "100_send_email.py" in shown
    assert "numflow_django/testing" not in shown


@pytest.mark.parametrize("module", ["numflow_django.testing", "numflow_django.testing.plugin"])
def test_importing_it_needs_no_django(site, module):
    """The plugin can be imported before there are settings."""
    code, output = run(site, "-c", f"import {module}, sys; print([m for m in sys.modules if 'models' in m])")

    assert (code, output) == (0, "[]\n")


def test_production_imports_none_of_it(site):
    """A site that serves requests never imports the test helpers."""
    program = "import django, sys; django.setup(); import urls, numflow_django.jobs, numflow_django.worker; "
    code, output = run(
        site, "-c", program + "print([m for m in sys.modules if m.startswith('numflow_django.testing')])"
    )

    assert (code, output) == (0, "[]\n")
