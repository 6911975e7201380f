"""An app of Django's in a folder of its own, known to the registry of apps for one test."""

from importlib import import_module

import pytest
from django.apps import AppConfig, apps


@pytest.fixture
def app(tree, monkeypatch):
    """An installed app that is empty; its label is its package."""
    tree.write({"__init__.py": "", "tests.py": ""})
    config = AppConfig(tree.package, import_module(tree.package))
    config.apps, config.models = apps, {}
    monkeypatch.setitem(apps.app_configs, config.label, config)
    return config
