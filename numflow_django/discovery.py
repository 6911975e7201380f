"""
The numbered modules of a package: found, ordered, imported, and their functions looked at, once.

Pure: no database, no HTTP, no settings. Every mistake is an error that names file, feature and remedy; the functions
here collect the mistakes into the list they are given, so that a person sees them all at once.
"""

import inspect
import pkgutil
import re
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .exceptions import (
    DuplicateName,
    DuplicateNumber,
    FeatureConfigurationError,
    FunctionNotFound,
    InvalidModuleName,
    ModuleImportFailed,
    PackageMissing,
    StepsMissing,
)
from .signature import STEPS, TASKS, Kind, arity_of

# [0-9] and not \d: full-width digits are digits to \d and int(), and look like others on the screen
NUMBERED = re.compile(r"(?P<number>[0-9]+)_(?P<name>[^\W\d]\w*)")

Mistakes = list[FeatureConfigurationError]


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


def find_steps(package_name: str, feature: str, mistakes: Mistakes) -> tuple[Module, ...]:
    """Give the steps in *package_name* by number; a missing or empty package is a mistake."""
    before = len(mistakes)
    package = import_package(package_name, feature, mistakes)
    if package is None:
        if len(mistakes) == before:
            mistakes.append(_steps_missing(package_name, feature, "does not exist"))
        return ()
    found = _modules(package, STEPS, feature, mistakes)
    if not found and len(mistakes) == before:
        mistakes.append(_steps_missing(package_name, feature, "holds no step"))
    return found


def find_tasks(package_name: str, feature: str, mistakes: Mistakes, *, required: bool) -> tuple[Module, ...]:
    """Give the async tasks in *package_name* in order; a missing package is a mistake only if it is *required*."""
    before = len(mistakes)
    package = import_package(package_name, feature, mistakes)
    if package is None:
        if required and len(mistakes) == before:
            mistakes.append(
                PackageMissing(f"feature {feature}: the package {package_name!r} named by async_tasks does not exist")
            )
        return ()
    return _modules(package, TASKS, feature, mistakes)


def import_package(name: str, feature: str, mistakes: Mistakes) -> ModuleType | None:
    """Import a package; None if there is none, or if its import failed, which is then among the *mistakes*."""
    try:
        package = import_module(name)
    except ModuleNotFoundError as error:
        # "There is no such package" is not "a module that it imports is missing"
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        mistakes.append(import_failed(name, feature, error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a module of the user's raises is the message
        mistakes.append(import_failed(name, feature, error))
        return None
    if not hasattr(package, "__path__"):
        mistakes.append(
            PackageMissing(f"feature {feature}: {name!r} is a module ({package.__file__}); make it a folder of modules")
        )
        return None
    return package


def _modules(package: ModuleType, kind: Kind, feature: str, mistakes: Mistakes) -> tuple[Module, ...]:
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


def _candidates(package: ModuleType, kind: Kind, feature: str, mistakes: Mistakes) -> Iterator[_Candidate]:
    folder = package_folder(package)
    for _, raw, is_package in pkgutil.iter_modules(package.__path__):
        if raw.startswith("_"):
            continue
        file = str(folder / raw) if is_package else str(folder / f"{raw}.py")
        stem = unicodedata.normalize("NFC", raw)
        match = NUMBERED.fullmatch(stem)
        number = int(match["number"]) if match else None
        name = match["name"] if match else stem
        if is_package or not (match or (kind.number_optional and name.isidentifier())):
            mistakes.append(_invalid_name(file, is_package, kind, feature))
            continue
        yield _Candidate(number=number, name=name, dotted=f"{package.__name__}.{raw}", file=file)
    for path in _overlooked(folder):
        mistakes.append(_invalid_name(str(path), path.is_dir(), kind, feature))


def _overlooked(folder: Path) -> Iterator[Path]:
    """What pkgutil passes over in silence: folders without an ``__init__.py``, and modules with a dot in their name."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        without_init = path.is_dir() and not (path / "__init__.py").is_file() and any(path.rglob("*.py"))
        if without_init or (path.suffix == ".py" and "." in path.stem):
            yield path


def package_folder(package: ModuleType) -> Path:
    """The folder of *package*, which need not hold an ``__init__.py``."""
    return Path(next(iter(package.__path__)))


def _check_unique(candidates: Sequence[_Candidate], kind: Kind, feature: str, mistakes: Mistakes) -> None:
    numbers: dict[int, _Candidate] = {}
    names: dict[str, _Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.file):
        if candidate.number is not None:
            first = numbers.setdefault(candidate.number, candidate)
            if first is not candidate:
                free = _free_number(candidate.number, {other.number or 0 for other in candidates})
                mistakes.append(_duplicate_number(first, candidate, free, kind, feature))
        first = names.setdefault(candidate.name, candidate)
        if first is not candidate:
            mistakes.append(
                DuplicateName(
                    f"feature {feature}: two {kind.noun}s are named {candidate.name!r}: {first.file} and "
                    f"{candidate.file}; give one of them another name"
                )
            )


def _free_number(number: int, taken: set[int]) -> int:
    """A number after *number* that nobody has; before the next one if there is room."""
    following = min((other for other in taken if other > number), default=number + 100)
    between = (number + following) // 2
    return between if between > number else max(taken) + 50


def _load(candidate: _Candidate, kind: Kind, feature: str, mistakes: Mistakes) -> Module | None:
    try:
        module = import_module(candidate.dotted)
    except Exception as error:  # noqa: BLE001 - whatever a module of the user's raises is the message
        mistakes.append(import_failed(candidate.dotted, feature, error))
        return None
    try:
        function = _function(module, candidate, kind, feature)
        arity = arity_of(function, kind, f"feature {feature}: {candidate.file}: {candidate.name}")
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


def _function(module: ModuleType, candidate: _Candidate, kind: Kind, feature: str) -> Callable[..., Any]:
    # Python itself reads identifiers in NFKC
    name = unicodedata.normalize("NFKC", candidate.name)
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    public = [
        value
        for key, value in vars(module).items()
        if not key.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    if len(public) == 1:
        return public[0]
    if found is not None:
        raise FunctionNotFound(
            f"feature {feature}: {candidate.file}: {name!r} is of type {type(found).__name__}; make it a function"
        )
    raise FunctionNotFound(_no_function(name, public, candidate, kind, feature))


# The messages


def _steps_missing(package_name: str, feature: str, what: str) -> StepsMissing:
    return StepsMissing(
        f"feature {feature}: the package {package_name!r} {what}; add a module such as steps/100_validate.py "
        "with a function validate(ctx, request)"
    )


def _invalid_name(file: str, is_package: bool, kind: Kind, feature: str) -> InvalidModuleName:
    what = "is a folder" if is_package else "is not named <number>_<name>.py"
    return InvalidModuleName(
        f"feature {feature}: {file} {what}; rename it like {kind.example}, or start its name with _ if it is a "
        f"helper and no {kind.noun}"
    )


def _duplicate_number(first: _Candidate, second: _Candidate, free: int, kind: Kind, feature: str) -> DuplicateNumber:
    return DuplicateNumber(
        f"feature {feature}: two {kind.noun}s have the number {second.number}: {first.file} and {second.file}; "
        f"renumber one of them, for example {free}_{second.name}.py"
    )


def import_failed(dotted: str, feature: str, error: Exception) -> ModuleImportFailed:
    """The mistake that a module's import raised *error*, with its place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename}, line {last.lineno}"
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
    return ModuleImportFailed(
        f"feature {feature}: the import of {dotted!r} failed: {type(error).__name__}: {error} ({where})"
    )


def _no_function(
    name: str, public: Sequence[Callable[..., Any]], candidate: _Candidate, kind: Kind, feature: str
) -> str:
    names = ", ".join(function.__name__ for function in public)
    found = f"it defines {names}" if names else "it defines no function"
    return (
        f"feature {feature}: {candidate.file} has no function {name!r}; {found}; "
        f"define {name}({', '.join(kind.parameters[:2])})"
    )
