"""
Finds, orders and imports the numbered modules of a package, and inspects their functions, once.

It uses no database, no HTTP and no settings. Each mistake is an error that names the file, the feature and the fix. The
functions here append the mistakes to a list, so that the developer sees them all at once.
"""

import inspect
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from ..exceptions import DuplicateName, FeatureConfigurationError, FunctionNotFound, PackageMissing, StepsMissing
from .errors import (
    FIRST_STEP,
    ConfigurationErrors,
    duplicate_number,
    import_failed,
    imported_function,
    invalid_name,
    misspelt_tasks,
    no_function,
    not_imported,
    package_folder,
    parent_folder,
    steps_missing,
)
from .listing import NUMBERED, Folder, corrected_module_name
from .signature import STEPS, TASKS, Kind, arity_of


@dataclass(frozen=True, kw_only=True)
class Module:
    """One numbered module and its function: a step or an async task."""

    number: int | None  # None: an async task without a number
    name: str  # "validate"
    dotted: str  # "shop.features.create_order.steps.100_validate"
    file: str  # for messages
    function: Callable[..., Any]
    arity: int  # how many of the parameters the function takes, from the left
    is_async: bool

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.number} {self.name}"


def find_steps(package_name: str, feature: str, mistakes: ConfigurationErrors) -> tuple[Module, ...]:
    """Return the steps in *package_name* by number; a missing or empty package is a mistake."""
    before = len(mistakes)
    package = import_package(package_name, f"feature {feature}: ", mistakes)
    if package is None:
        if len(mistakes) == before:
            mistakes.append(steps_missing(package_name, feature))
        return ()
    found = _modules(package, STEPS, feature, mistakes)
    if not found and len(mistakes) == before:
        mistakes.append(StepsMissing(f"feature {feature}: {package_folder(package)} holds no step; {FIRST_STEP}"))
    return found


def find_tasks(package_name: str, feature: str, mistakes: ConfigurationErrors, *, required: bool) -> tuple[Module, ...]:
    """Return the async tasks in *package_name* in order; a missing package is a mistake only if *required*."""
    before = len(mistakes)
    home = None if required else parent_folder(package_name)
    leaf = package_name.rpartition(".")[2]
    if home and home.folder(leaf) is None and f"{leaf}.py" not in home.files:
        # Look at the disk first: an import that fails takes many times as long
        mistakes += misspelt_tasks(home, feature)
        return ()
    package = import_package(package_name, f"feature {feature}: ", mistakes)
    if package is None:
        if required and len(mistakes) == before:
            mistakes.append(
                PackageMissing(
                    f"feature {feature}: async_tasks = {package_name!r} names a package that does not exist; give the "
                    "dotted name of one, or remove the attribute"
                )
            )
        return ()
    return _modules(package, TASKS, feature, mistakes)


def import_package(name: str, where: str, mistakes: ConfigurationErrors) -> ModuleType | None:
    """
    Import a package and return it; None if it does not exist or its import failed, which is added to *mistakes*.

    *where* begins their messages: ``"feature shop.buy: "``.
    """
    try:
        package = import_folder(name)
    except ModuleNotFoundError as error:
        # Tell a package that does not exist from a missing module that it imports
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        mistakes.append(import_failed(name, where, error))
        return None
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything; the message quotes it
        mistakes.append(import_failed(name, where, error))
        return None
    if not hasattr(package, "__path__"):
        leaf = name.rpartition(".")[2]
        mistakes.append(
            PackageMissing(
                f"{where}{package.__file__} is a module; make it a folder, {leaf}/, and move its code into modules"
            )
        )
        return None
    return package


def import_folder(name: str) -> ModuleType:
    """Import a package and make imports in it and below it cheap. Raise what its import raises."""
    package = sys.modules.get(name)
    if package is None:
        if "." in name:
            import_folder(name.rpartition(".")[0])
        package = import_module(name)
    path = getattr(package, "__path__", None)
    if path is not None and not isinstance(path, list):
        # For a package without an __init__.py, Python computes the path at each import in it, and each level asks
        # its parent twice: at eight levels, 256 times for each module
        package.__path__ = list(path)
    return package


def _modules(package: ModuleType, kind: Kind, feature: str, mistakes: ConfigurationErrors) -> tuple[Module, ...]:
    candidates = list(_candidates(package, kind, feature, mistakes))
    _check_unique(candidates, kind, feature, mistakes)
    loaded = [_load(candidate, kind, feature, mistakes) for candidate in sorted(candidates, key=_order)]
    return tuple(module for module in loaded if module)


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    number: int | None
    name: str
    dotted: str
    file: str


def _order(candidate: _Candidate) -> tuple[bool, int, str]:
    return candidate.number is None, candidate.number or 0, candidate.name


def _candidates(package: ModuleType, kind: Kind, feature: str, mistakes: ConfigurationErrors) -> Iterator[_Candidate]:
    folder = Folder(package_folder(package))
    # A folder that holds code does not belong here either
    misnamed = [inner.name for inner in folder.folders if inner.holds_python]
    taken = [0]
    modules = folder.modules
    for raw, file in modules.items():
        stem = unicodedata.normalize("NFC", raw)
        match = NUMBERED.fullmatch(stem)
        if not (match or (kind.number_optional and stem.isidentifier())):
            misnamed.append(file)
            continue
        number = int(match["number"]) if match else None
        taken.append(number or 0)
        name = match["name"] if match else stem
        yield _Candidate(number=number, name=name, dotted=f"{package.__name__}.{raw}", file=f"{folder}/{file}")
    for name in sorted(folder.files.difference(modules.values())):
        good = corrected_module_name(name, named=kind.number_optional)
        if good and good not in folder.files:
            mistakes.append(not_imported(folder, name, good, kind, feature))
    for free, name in enumerate(sorted(misnamed), start=max(taken) // 100 + 1):
        mistakes.append(invalid_name(folder, name, free * 100, kind, feature))


def _check_unique(candidates: Sequence[_Candidate], kind: Kind, feature: str, mistakes: ConfigurationErrors) -> None:
    numbers: dict[int, _Candidate] = {}
    names: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.file):
        if candidate.number is not None:
            first = numbers.setdefault(candidate.number, candidate)
            if first is not candidate:
                free = _free_number(candidate.number, {other.number or 0 for other in candidates})
                mistakes.append(
                    duplicate_number(
                        first.file, candidate.file, candidate.number, f"{free}_{candidate.name}.py", kind, feature
                    )
                )
        first = names.setdefault(candidate.name, candidate)
        if first is not candidate:
            mistakes.append(
                DuplicateName(
                    f"feature {feature}: two {kind.noun}s are named {candidate.name!r}: {first.file} and "
                    f"{candidate.file}; give one of them another name"
                )
            )


def _free_number(number: int, taken: set[int]) -> int:
    """Return an unused number after *number*, before the next one if there is room."""
    following = min((other for other in taken if other > number), default=number + 100)
    between = (number + following) // 2
    return between if between > number else max(taken) + 50


def _load(candidate: _Candidate, kind: Kind, feature: str, mistakes: ConfigurationErrors) -> Module | None:
    try:
        module = import_module(candidate.dotted)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything; the message quotes it
        mistakes.append(import_failed(candidate.dotted, f"feature {feature}: ", error))
        return None
    try:
        function = _function(module, candidate, kind, feature)
        arity = arity_of(function, kind, f"feature {feature}: {candidate.file}: {_title(function, candidate)}")
    except FeatureConfigurationError as mistake:
        mistakes.append(mistake)
        return None
    return Module(
        number=candidate.number,
        name=candidate.name,
        dotted=candidate.dotted,
        file=candidate.file,
        function=function,
        arity=arity,
        is_async=inspect.iscoroutinefunction(function),
    )


def _is_imported(found: Any) -> bool:
    """Return whether *found* is another module's own object, and not one that its decorator made."""
    home = sys.modules.get(getattr(found, "__module__", None) or "")
    return found is getattr(home, getattr(found, "__name__", ""), None)


def _title(function: Callable[..., Any], candidate: _Candidate) -> str:
    """Return the name of *function*, and its module if it was imported from another one."""
    home = getattr(function, "__module__", candidate.dotted)
    return candidate.name if home == candidate.dotted else f"{candidate.name}, imported from {home}, "


def _function(module: ModuleType, candidate: _Candidate, kind: Kind, feature: str) -> Callable[..., Any]:
    # Python normalizes identifiers to NFKC
    name = unicodedata.normalize("NFKC", candidate.name)
    found = getattr(module, name, None)
    public = [
        value
        for key, value in vars(module).items()
        if not key.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    if callable(found) and not isinstance(found, type):
        if public and found not in public and _is_imported(found):
            raise FunctionNotFound(imported_function(name, found, public, candidate.file, kind, feature))
        return found  # type: ignore[no-any-return]
    if len(public) == 1:
        return public[0]
    if found is not None:
        what = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise FunctionNotFound(f"feature {feature}: {candidate.file}: {name!r} is {what}; make it a function")
    raise FunctionNotFound(no_function(name, public, candidate.file, kind, feature))
