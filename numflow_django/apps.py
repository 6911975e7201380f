"""The app: its features are found when Django starts, and a server does not start with a broken one."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _

from .conf import conf


class NumflowConfig(AppConfig):
    """``INSTALLED_APPS = [..., "django_rq", "numflow_django"]``."""

    name = "numflow_django"
    label = "numflow_django"
    verbose_name = _("Features and their runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find all features. Raise InvalidFeatures unless a management command will show the mistakes by its checks."""
        from . import checks, signals  # noqa: F401 - they register themselves
        from .folders import scan
        from .registry import registry

        registry.checks_follow = _in_management_command()
        for package in feature_packages():
            scan(package)
        registry.raise_mistakes()


def feature_packages() -> Iterator[str]:
    """The packages to scan: ``NUMFLOW["FEATURES"]``, or ``features`` of every installed app that has one."""
    if conf.FEATURES is not None:
        yield from [conf.FEATURES] if isinstance(conf.FEATURES, str) else conf.FEATURES
        return
    for config in apps.get_app_configs():
        # An app may be a single module, in which find_spec() cannot look
        spec = find_spec(f"{config.name}.features") if hasattr(config.module, "__path__") else None
        if spec is not None and spec.submodule_search_locations is not None:
            yield spec.name


def _in_management_command() -> bool:
    """
    Whether ``django.setup()`` was called by manage.py.

    Its commands run the system checks, which show all mistakes at once and in colour. A WSGI server runs no checks;
    there the error itself has to stop the start-up.
    """
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name == "execute" and frame.f_globals.get("__name__") == "django.core.management":
            return True
    return False
