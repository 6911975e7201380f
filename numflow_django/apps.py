"""The app's configuration: it finds the features when Django starts, and stops a server if a feature is broken."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from django.apps import AppConfig
from django.utils.autoreload import BaseReloader, StatReloader, autoreload_started
from django.utils.translation import gettext_lazy as _


class NumflowConfig(AppConfig):
    """``INSTALLED_APPS = [..., "django_rq", "numflow_django"]``."""

    name = "numflow_django"
    label = "numflow_django"
    verbose_name = _("Features and their runs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find all features. Raise InvalidFeatures for mistakes, unless a management command's checks show them."""
        from . import checks, signals  # noqa: F401 - checks and signals register themselves
        from .discovery.registry import registry
        from .routing.scan import feature_packages, scan
        from .text import console

        console.install()
        autoreload_started.connect(watch_features, dispatch_uid="numflow_django")
        registry.checks_will_report = _in_management_command()
        for package in feature_packages():
            scan(package)
        registry.raise_mistakes()


def watch_features(sender: BaseReloader, **kwargs: object) -> None:
    """
    Make ``runserver`` restart when a file of a feature is added, changed or removed.

    Django watches only loaded modules. A new step is not loaded yet, nor is a module whose import failed.
    """
    from .discovery.registry import registry
    from .exceptions import ModuleImportFailed

    for root in _roots():
        # StatReloader runs its globs every second, which is slow for a large tree; stat() of known files is fast
        if isinstance(sender, StatReloader):
            sender.extra_files.update(_tree(root))
        else:
            sender.watch_dir(root, "**/*.py")
    for mistake in registry.mistakes:
        if isinstance(mistake, ModuleImportFailed):
            sender.extra_files.update(Path(file).resolve() for file in mistake.files if Path(file).exists())


def _roots() -> Iterator[Path]:
    """Yield the folders of all scanned packages, and those with the modules of features that are routed by hand."""
    from .discovery.registry import registry
    from .routing.scan import feature_packages

    for package in {*feature_packages(), *registry.scanned}:
        with suppress(Exception):  # no such package, or its parent cannot be imported: the checks report it
            spec = find_spec(package)
            yield from (Path(path).resolve() for path in (spec and spec.submodule_search_locations) or ())
    scanned = {label for labels in registry.scanned.values() for label in labels}
    by_hand = [feature for feature in registry if feature.label not in scanned]
    yield from {Path(module.file).parent.resolve() for each in by_hand for module in (*each.steps, *each.tasks)}


def _tree(root: Path) -> Iterator[Path]:
    """Yield the folders in *root*, whose mtime changes when a file is added or removed, and their modules."""
    for folder, inner, files in os.walk(root):
        # A new .pyc file is not a change
        inner[:] = [name for name in inner if name != "__pycache__"]
        yield Path(folder)
        yield from (Path(folder, file) for file in files if file.endswith(".py"))


def _in_management_command() -> bool:
    """
    Return whether manage.py called ``django.setup()``.

    Its commands run the system checks, which show all mistakes at once and in colour. A WSGI server runs no checks, so
    there the error itself has to stop the start-up.
    """
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name == "execute" and frame.f_globals.get("__name__") == "django.core.management":
            return True
    return False
