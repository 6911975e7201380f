"""The package's public names, which Django may import before its apps are ready."""

import subprocess
import sys
import tomllib

import pytest

import numflow_django
from tests.support.sites import ROOT


def python(code):
    """Run *code* in a process that knows nothing of Django's settings."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", numflow_django.__all__)
def test_every_public_name_is_there(name):
    """Each name of ``__all__`` can be taken from the package and is listed by dir()."""
    assert getattr(numflow_django, name).__name__ == name
    assert name in dir(numflow_django)


def test_an_unknown_name_is_an_attribute_error():
    """Another name is the AttributeError that Python gives, also for a submodule that is not loaded."""
    with pytest.raises(AttributeError, match="module 'numflow_django' has no attribute 'FeatureVeiw'"):
        numflow_django.FeatureVeiw  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'FeatureVeiw' from 'numflow_django'"):
        exec("from numflow_django import FeatureVeiw")


def test_the_package_loads_nothing_of_django():
    """Importing the package, as ``INSTALLED_APPS`` makes Django do, loads neither Django nor RQ."""
    process = python(
        "import sys, numflow_django\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('django', 'rq', 'redis')])"
    )

    assert (process.stdout, process.stderr) == ("[]\n", "")


@pytest.mark.parametrize("name", ["Context", "Retry", "StepError", "async_task"])
def test_what_needs_no_models_is_there_before_setup(name):
    """The names that steps and tasks import can be imported without settings and before ``django.setup()``."""
    process = python(f"from numflow_django import {name}; print({name}.__name__)")

    assert (process.stdout, process.stderr) == (f"{name}\n", "")


@pytest.mark.parametrize("name", ["FeatureView", "feature_urls"])
def test_what_needs_models_says_so_before_setup(name):
    """A name that needs models gives Django's own error before ``django.setup()``, and works after it."""
    settings = "from django.conf import settings; settings.configure(USE_TZ=True); import numflow_django; "

    process = python(f"{settings}\nnumflow_django.{name}")

    assert process.returncode == 1
    assert "AppRegistryNotReady: Apps aren't loaded yet." in process.stderr


def test_django_can_be_set_up_with_the_app():
    """An app config that imports a public name at its top does not break ``django.setup()``."""
    process = python(
        "from django.conf import settings\n"
        "settings.configure(USE_TZ=True, INSTALLED_APPS=['django_rq', 'numflow_django'], RQ_QUEUES={'default': {}})\n"
        "import django; django.setup()\n"
        "from numflow_django import *\n"
        "print(FeatureView.__name__, Context.__name__)"
    )

    assert (process.stdout, process.stderr) == ("FeatureView Context\n", "")


def test_the_version_is_the_distribution_s():
    """``__version__`` is the one that pyproject.toml publishes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert numflow_django.__version__ == project["version"]
