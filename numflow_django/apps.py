"""The app: its features are found when Django starts, and a server does not start with a broken one."""

import sys
from glob import escape
from importlib.util import find_spec
from pathlib import Path

from django.apps import AppConfig
from django.utils.autoreload import BaseReloader, autoreload_started
from django.utils.translation import gettext_lazy as _


class NumflowConfig(AppConfig):
    """``INSTALLED_APPS = [..., "django_rq", "numflow_django"]``."""

    name = "numflow_django"
    label = "numflow_django"
    verbose_name = _("Features and their runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find all features. Raise InvalidFeatures unless a management command will show the mistakes by its checks."""
        from . import checks, console, signals  # noqa: F401 - checks and signals register themselves
        from .folders import feature_packages, scan
        from .registry import registry

        console.install()
        autoreload_started.connect(watch_folders, dispatch_uid="numflow_django")
        registry.checks_follow = _in_management_command()
        for package in feature_packages():
            scan(package)
        registry.raise_mistakes()


def watch_folders(sender: BaseReloader, **kwargs: object) -> None:
    """
    Have ``runserver`` start anew when a file comes into a feature's folder, or goes.

    Django watches the modules that are loaded, and a new step is none of them; but its folder changes.
    """
    from .folders import feature_packages

    for package in feature_packages():
        spec = find_spec(package)
        for root in map(Path, (spec and spec.submodule_search_locations) or ()):
            for folder in (root, *root.rglob("*/")):
                # Workers write their bytecode too, and that is no change
                if folder.is_dir() and folder.name != "__pycache__":
                    sender.watch_dir(folder.parent, escape(folder.name))


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
