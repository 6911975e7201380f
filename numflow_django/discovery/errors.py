"""Builds the error for each mistake in a feature's modules: where it is and how to fix it."""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from types import ModuleType
from typing import Any

from ..exceptions import (
    DuplicateNumber,
    FeatureConfigurationError,
    InvalidFeature,
    InvalidModuleName,
    ModuleImportFailed,
    PackageMissing,
    StepsMissing,
)
from ..text.suggestions import one_of
from .listing import Folder, meant_part
from .origin import files_of, is_authors_syntax, place_of
from .signature import Kind

ConfigurationErrors = list[FeatureConfigurationError]

FIRST_STEP = "add a module such as 100_validate.py with a function validate(ctx, request)"


def package_folder(package: ModuleType) -> str:
    """Return the path of the folder of *package*, which need not hold an ``__init__.py``."""
    return str(next(iter(package.__path__)))


def parent_folder(package_name: str) -> Folder | None:
    """Return the folder that *package_name* is in or would be in; None if its parent cannot be imported."""
    name = package_name.rpartition(".")[0]
    with suppress(Exception):  # importing the package itself reports the error
        return Folder(package_folder(sys.modules.get(name) or import_module(name)))
    return None


def missing_features(package_name: str) -> PackageMissing:
    """Return the error for a package of features that does not exist."""
    leaf = package_name.rpartition(".")[2]
    home = parent_folder(package_name)
    names = [folder.name for folder in home.folders] if home else []
    meant = one_of(leaf, names)
    remedy = meant if meant.endswith("?") else "create the folder"
    beside = [str(folder) for folder in (home.folders if home else ()) if folder.holds_features]
    if beside and "features" not in names and not meant.endswith("?"):
        remedy += f", and move {', '.join(beside)} into it"
    return PackageMissing(
        f"the package {package_name!r} of features, named by feature_urls() or NUMFLOW['FEATURES'], does not exist; "
        f"{remedy}"
    )


def steps_missing(package_name: str, feature: str) -> StepsMissing:
    """Return the error for a package of steps that does not exist."""
    home = parent_folder(package_name)
    misspelt = home and home.misspelt("steps")
    if misspelt:
        return StepsMissing(f"feature {feature}: {misspelt}: did you mean 'steps'? Rename the folder")
    place = home.path / package_name.rpartition(".")[2] if home else package_name
    if home and home.is_flat:
        return StepsMissing(
            f"feature {feature}: its numbered modules are in {home} itself; move the steps into {place}"
        )
    return StepsMissing(f"feature {feature}: its steps, {place}, do not exist; {FIRST_STEP}")


def misspelt_tasks(home: Folder, feature: str) -> Iterator[InvalidFeature]:
    """Yield the error for async tasks that are in a folder with another name in *home*, if they are."""
    misspelt = home.misspelt("async_tasks")
    if misspelt:
        yield InvalidFeature(
            f"feature {feature}: {misspelt}: did you mean 'async_tasks'? Rename the folder, otherwise its tasks never "
            f"run{'; start its name with _ if it holds helpers' if meant_part(misspelt.name) is None else ''}"
        )


def invalid_name(folder: Folder, name: str, free: int, kind: Kind, feature: str) -> InvalidModuleName:
    """Return the error for *name*, a module or folder without a number; *free* is a number it may have."""
    is_module = name.endswith(".py")
    what = "is not named <number>_<name>.py; rename it" if is_module else "is a folder; make it a module"
    good = _good_name(name, free)
    example = f"to {good}" if good and is_module else f"like {good or kind.example}"
    return InvalidModuleName(
        f"feature {feature}: {folder.path / name} {what} {example}, or start its name "
        f"with _ if it is a helper and not one of the {kind.noun}s"
    )


def not_imported(folder: Folder, name: str, good: str, kind: Kind, feature: str) -> InvalidModuleName:
    """Return the error for the file *name*, which was meant to be the module *good*."""
    return InvalidModuleName(
        f"feature {feature}: {folder.path / name} is not a module that Python imports; rename it to {good}, or start "
        f"its name with _ if it is not one of the {kind.noun}s"
    )


def _good_name(name: str, free: int) -> str | None:
    """Return what *name* was meant to be: ``100_validate.py`` for ``100-validate.py``."""
    match = re.fullmatch(r"([0-9]*)[\W_]*([^\W\d_].*)", unicodedata.normalize("NFKC", name.removesuffix(".py")))
    words = re.sub(r"\W+", "_", match[2]).strip("_") if match else ""
    return f"{match[1] or free}_{words}.py" if match and words else None


def duplicate_number(first: str, second: str, number: int, example: str, kind: Kind, feature: str) -> DuplicateNumber:
    """Return the error for two files with one number; *example* is a good name for one of them."""
    return DuplicateNumber(
        f"feature {feature}: two {kind.noun}s have the number {number}: {first} and {second}; renumber one of them, "
        f"for example {example}"
    )


def import_failed(dotted: str, where: str, error: Exception) -> ModuleImportFailed:
    """Return the error for a module whose import raised *error*, with its line; *where* begins the message."""
    # The str() of a SyntaxError repeats its place
    text = error.msg if is_authors_syntax(error, dotted) else str(error)
    return ModuleImportFailed(
        f"{where}the import of {dotted!r} failed: {type(error).__name__}: {text} ({place_of(error, dotted)})",
        files=files_of(error),
    )


def no_function(name: str, public: Sequence[Callable[..., Any]], file: str, kind: Kind, feature: str) -> str:
    """Return the message for a module whose function is not clear; *public* are the functions it defines."""
    names = ", ".join(function.__name__ for function in public)
    found = f"it defines {names}" if names else "it defines no function"
    remedy = f"define {name}({', '.join(kind.parameters[:2])})"
    if iskeyword(name):
        remedy = (
            "a function cannot have a keyword of Python as its name: rename the file, or define exactly one function"
        )
    elif names:
        remedy += ", or start the names of all functions but one with _"
    return f"feature {feature}: {file} has no function {name!r}; {found}; {remedy}"


def imported_function(
    name: str, found: Any, public: Sequence[Callable[..., Any]], file: str, kind: Kind, feature: str
) -> str:
    """Return the message for a module that imports *found* under its name and also defines *public* functions."""
    names = ", ".join(function.__name__ for function in public)
    return (
        f"feature {feature}: {file} imports {name!r} from {found.__module__}, which hides {names}; define "
        f"{name}({', '.join(kind.parameters[:2])}), or rename the file"
    )
