"""Folders on disk, each listed once, on first use, and the likely meaning of misspelt names."""

import os
import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from inspect import getmodulename
from pathlib import Path

from ..text.suggestions import MISSPELT_NAME, NEARLY_SAME_NAME, closest

# [0-9] and not \d: \d and int() accept full-width digits too, which look like other digits on the screen
NUMBERED = re.compile(r"(?P<number>[0-9]+)_(?P<name>[^\W\d]\w*)")

#: The names of a feature's folders that hold its modules.
PARTS = ("steps", "async_tasks")

#: Other systems' names for the async tasks.
TASKS_ELSEWHERE = ("tasks", "task", "background_tasks", "background", "bg_tasks")

#: The name of a file that may be meant as a module: 100_check, 100_check.PY, 100_check.py.txt.
MODULE_ALIKE = re.compile(r"(?P<stem>.+?)(?P<suffix>\.py[w3]?(\.txt)?)?", re.IGNORECASE)


class Folder:
    """A folder and what is in it, except hidden names and names that start with ``_``: those are the user's own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.name = path.rpartition(os.sep)[2]

    def __str__(self) -> str:
        return self._path

    @property
    def path(self) -> Path:
        """Return where the folder is."""
        return Path(self._path)

    @cached_property
    def _entries(self) -> tuple[list[str], frozenset[str]]:
        """Return the names of its folders and of its files."""
        with os.scandir(self._path) as entries:
            kinds = [(entry.name, entry.is_dir()) for entry in entries]
        return [name for name, is_dir in kinds if is_dir], frozenset(name for name, is_dir in kinds if not is_dir)

    @cached_property
    def files(self) -> frozenset[str]:
        """Return the names of its files."""
        return frozenset(name for name in self._entries[1] if not name.startswith(("_", ".")))

    @property
    def modules(self) -> dict[str, str]:
        """Return the modules that Python can import from it, compiled ones too: name -> file."""
        stems = ((name[:-3] if name.endswith(".py") else getmodulename(name), name) for name in sorted(self.files))
        return {stem: name for stem, name in stems if stem}

    @cached_property
    def _inner(self) -> list["Folder"]:
        return [Folder(f"{self._path}{os.sep}{name}") for name in sorted(self._entries[0]) if name != "__pycache__"]

    @cached_property
    def folders(self) -> tuple["Folder", ...]:
        """Return the folders in it, sorted by name."""
        inner = (folder for folder in self._inner if not folder.name.startswith(("_", ".")))
        return tuple(folder for folder in inner if not folder._is_left_over)

    @property
    def _is_left_over(self) -> bool:
        """Return whether it holds only bytecode, as after a switch of branches."""
        names, files = self._entries
        return not files and names != [] and all(folder._is_left_over for folder in self._inner)

    @property
    def holds_python(self) -> bool:
        """Return whether a module is in it or below it."""
        return any(name.endswith(".py") for name in self._entries[1]) or any(
            folder.holds_python for folder in self._inner
        )

    @property
    def holds_numbered(self) -> bool:
        """Return whether one of its modules has a name with a number, as steps have."""
        return any(is_numbered(name) for name in self.files)

    @property
    def is_flat(self) -> bool:
        """Return whether its numbered modules are in it directly and not in a folder ``steps``."""
        has_place = self.folder("steps") or self.misspelt("steps") or "steps.py" in self.files
        return self.holds_numbered and not has_place

    def folder(self, name: str) -> "Folder | None":
        """Return the folder called *name* in it, or None."""
        return next((folder for folder in self.folders if folder.name == name), None)

    def below(self) -> Iterator["Folder"]:
        """Yield all folders in it, at any depth."""
        for folder in self.folders:
            yield folder
            yield from folder.below()

    def misspelt(self, part: str) -> "Folder | None":
        """Return the folder in it that was meant to be *part*, ``"steps"`` or ``"async_tasks"``, or None."""
        alike = (folder for folder in self.folders if self.part_meant(folder) == part and folder.name != part)
        return next((folder for folder in alike if folder.holds_python), None)

    def part_meant(self, folder: "Folder") -> str | None:
        """Return the part of a feature that *folder*, one of its folders, is meant to be, or None."""
        is_feature = "feature.py" in self.files or self.name.startswith("@")
        # Outside a feature, "tasks" may be a resource, or a package of the site's own
        if is_feature and folder.name.lower() in TASKS_ELSEWHERE and not folder.holds_features:
            return "async_tasks"
        return meant_part(folder.name)

    @property
    def holds_features(self) -> bool:
        """Return whether it is a feature or holds one."""
        return any(each.name.startswith("@") or "feature.py" in each.files for each in (self, *self.below()))

    @property
    def misspelt_feature_file(self) -> str | None:
        """Return the name of the file or folder in it that is meant to be ``feature.py``, or None."""
        folder = self.folder("feature")
        files = (name for name in sorted(self.files) if _looks_like_feature_file(name))
        return next(files, f"feature{os.sep}" if folder and folder.holds_python and not folder.holds_features else None)


def is_numbered(file: str) -> bool:
    """Return whether *file* is the name of a numbered module, as steps have."""
    stem, extension = os.path.splitext(file)  # noqa: PTH122 - a name, not a path; called for every file
    return extension == ".py" and bool(NUMBERED.fullmatch(unicodedata.normalize("NFC", stem)))


def corrected_module_name(file: str, *, named: bool) -> str | None:
    """
    Return the name that *file*, which Python does not import, should have: ``100_check.py`` for ``100_check.PY``.

    *named*: a name without a number is allowed.
    """
    match = MODULE_ALIKE.fullmatch(unicodedata.normalize("NFC", file))
    stem, suffix = (match["stem"], match["suffix"]) if match else ("", None)
    if suffix == ".py" or not (NUMBERED.fullmatch(stem) or (named and suffix and stem.isidentifier())):
        return None
    return f"{stem}.py"


def _looks_like_feature_file(file: str) -> bool:
    stem, suffix = os.path.splitext(file.lower())  # noqa: PTH122 - a name, not a path
    if file == "feature.py" or suffix not in (".py", ".pyw", ""):
        return False
    return stem == "feature" or (
        suffix != "" and (stem == "index" or closest(stem, ["feature"], NEARLY_SAME_NAME) is not None)
    )


def meant_part(name: str) -> str | None:
    """Return the part of a feature that a folder called *name* is meant to be: ``"steps"`` for ``stpes``."""
    return name if name in PARTS else closest(name, PARTS, MISSPELT_NAME)
