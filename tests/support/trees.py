"""Feature folders on disk, written by a test."""

import itertools
import shutil
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path
from textwrap import dedent
from typing import Any

from numflow_django.discovery.registry import registry
from numflow_django.routing.scan import scan
from numflow_django.views import FeatureView

_numbers = itertools.count()


class Tree:
    """A package of features in a folder of its own, importable under a name that no other test has used."""

    def __init__(self, folder: Path) -> None:
        self.package = f"tree{next(_numbers)}"
        self.root = folder / self.package
        self.root.mkdir()

    def write(self, files: dict[str, str]) -> "Tree":
        """Write *files*, relative path -> source."""
        for name, source in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(source), encoding="utf-8")
        invalidate_caches()
        return self

    def feature(
        self, folder: str, *, steps: dict[str, str], tasks: dict[str, str] | None = None, **attributes: Any
    ) -> str:
        """Write one explicit feature; give its package. *attributes* become those of its FeatureView."""
        body = "\n".join(f"    {name} = {value!r}" for name, value in attributes.items()) or "    pass"
        view = f"from numflow_django import FeatureView\n\nclass View(FeatureView):\n{body}\n"
        files = {f"{folder}/feature.py": view}
        files |= {f"{folder}/steps/{name}": source for name, source in steps.items()}
        files |= {f"{folder}/async_tasks/{name}": source for name, source in (tasks or {}).items()}
        self.write(files)
        return f"{self.package}.{folder.replace('/', '.')}"

    def remove(self, folder: str) -> None:
        """Delete a feature's folder and forget it, as before a deploy; nothing happens if there is none."""
        shutil.rmtree(self.root / folder, ignore_errors=True)
        package = f"{self.package}.{folder.replace('/', '.')}"
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]
        registry.forget(package)

    def view(self, folder: str) -> type[FeatureView]:
        """The FeatureView of a folder's ``feature.py``."""
        view: type[FeatureView] = import_module(f"{self.package}.{folder.replace('/', '.')}.feature").View
        return view

    def mistakes(self) -> list[str]:
        """Scan the package; give what is wrong with it."""
        before = len(registry.mistakes)
        scan(self.package)
        return [str(mistake) for mistake in registry.mistakes[before:]]

    def forget(self) -> None:
        """Unload the package's modules."""
        for name in [name for name in sys.modules if name.partition(".")[0] == self.package]:
            del sys.modules[name]
