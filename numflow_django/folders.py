"""
Folders -> features: what a tree of folders declares.

A folder with a ``feature.py`` is an explicit feature; a folder named ``@get @post @put @patch @delete`` is an implicit
one, whose method and path come from the folders: ``orders/[order_id=int]/@get`` is ``GET orders/<int:order_id>/``.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .conf import conf
from .discovery import NUMBERED, Mistakes, import_failed, import_package, package_folder
from .exceptions import DuplicateRoute, InvalidFeature, InvalidRoute, PackageMissing
from .registry import METHODS, label_of, registry
from .views import FeatureView

#: A folder that is a route parameter: [order_id], [order_id=int].
PARAMETER = re.compile(r"\[(?P<name>[^\W\d]\w*)(?:=(?P<converter>\w+))?\]")

#: A parameter of Django's that names no converter: <order_id> is <str:order_id>.
UNTYPED = re.compile(r"<(?=\w+>)")

#: Folders of a feature that hold no features themselves.
PARTS = ("steps", "async_tasks")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One feature and where it answers."""

    view: type[FeatureView]
    label: str
    package: str
    method: str | None  # in capitals; None: every method
    path: str  # Django's route syntax, without a leading slash


@cache
def scan(package_name: str) -> tuple[Route, ...]:
    """Find, import and register the features of a package, once for each process."""
    mistakes: Mistakes = []
    package = import_package(package_name, package_name, mistakes)
    if package is None:
        if not mistakes:
            mistakes.append(
                PackageMissing(f"the package {package_name!r} of features does not exist; create the folder")
            )
        registry.mistakes += mistakes
        return ()
    routes = tuple(_walk(package.__name__, package_folder(package), (), mistakes))
    registry.mistakes += mistakes + list(_collisions(routes))
    return routes


def _walk(package: str, folder: Path, segments: tuple[str, ...], mistakes: Mistakes) -> Iterator[Route]:
    """The routes of one folder and of those below it."""
    method = _method_of(folder, package, mistakes)
    is_feature = (folder / "feature.py").is_file() or method is not None
    if is_feature:
        route = _route(package, method, segments if method is None else segments[:-1], mistakes)
        if route:
            yield route
        mistakes += _strays(folder, label_of(package))
    elif _is_unclaimed(folder, is_root=not segments):
        mistakes.append(
            InvalidFeature(
                f"{folder} holds steps but is no feature; add a feature.py with a FeatureView, or name the folder "
                "after its method, such as @post"
            )
        )
    for child in _folders(folder):
        # "steps" is a resource's name like any other, unless it is the steps of a feature
        if is_feature and child.name in PARTS:
            continue
        if "." in child.name:
            mistakes += _unimportable(child)
        else:
            yield from _walk(f"{package}.{child.name}", child, (*segments, child.name), mistakes)


def _folders(folder: Path) -> list[Path]:
    inner = (child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(("_", ".")))
    return [child for child in inner if not _is_left_over(child)]


def _is_left_over(folder: Path) -> bool:
    """Whether nothing but bytecode is left in *folder*, as after a switch of branches."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return bool(files) and all(path.parent.name == "__pycache__" for path in files)


def _holds_features(folder: Path) -> bool:
    return any(_is_method(child.name) or child.name == "feature.py" for child in folder.rglob("*"))


def _holds_numbered(folder: Path) -> bool:
    return any(NUMBERED.fullmatch(unicodedata.normalize("NFC", file.stem)) for file in folder.glob("*.py"))


def _is_unclaimed(folder: Path, *, is_root: bool) -> bool:
    """Whether *folder*, which is no feature, holds steps or async tasks all the same."""
    if folder.name.startswith("@"):
        return False  # its name is the mistake
    steps = folder / "steps"
    # The steps of the root may be those of behave, which are not numbered
    unnumbered = not is_root and steps.is_dir() and not _is_left_over(steps) and not _holds_features(steps)
    return unnumbered or any(_holds_numbered(folder / part) for part in PARTS)


def _strays(folder: Path, label: str) -> Iterator[InvalidFeature]:
    """Numbered modules in a feature's folder that nobody would run."""
    for place in (folder, *(child for child in _folders(folder) if child.name not in PARTS)):
        if _holds_numbered(place):
            yield InvalidFeature(
                f"feature {label}: {place} holds numbered modules, but only those in steps and async_tasks are run; "
                "rename the folder, or move them"
            )


def _unimportable(folder: Path) -> Iterator[InvalidRoute]:
    if _holds_features(folder):
        yield InvalidRoute(
            f"{folder}: Python cannot import a folder with a dot in its name; rename it, and set path on its features"
        )


def _is_method(name: str) -> bool:
    return name.startswith("@") and name[1:].upper() in METHODS


def _method_of(folder: Path, package: str, mistakes: Mistakes) -> str | None:
    name = folder.name
    if not name.startswith("@"):
        return None
    if not _is_method(name):
        known = ", ".join(f"@{method.lower()}" for method in METHODS)
        mistakes.append(
            InvalidRoute(f"feature {label_of(package)}: {folder}: {name!r} is no method; use one of {known}")
        )
        return None
    return name[1:].upper()


def _route(package: str, method: str | None, segments: tuple[str, ...], mistakes: Mistakes) -> Route | None:
    label = label_of(package)
    view = _declared_view(package, label, mistakes)
    if view is None:
        return None
    if method is not None and "method" not in _declared(view):
        view.method = method
    route: Any = view.path if view.path is not None else _path_of(segments, label, mistakes)
    feature = registry.register(view, package=package)
    if not isinstance(route, str):
        mistakes.append(InvalidFeature(f"feature {label}: path = {route!r} is a {type(route).__name__}; give one str"))
        return None
    return Route(
        view=view,
        label=feature.label,
        package=package,
        method=None if view.method is None else str(view.method).upper(),
        path=_slashed(UNTYPED.sub("<str:", route), view),
    )


def _declared(view: type[FeatureView]) -> set[str]:
    """The attributes that *view* or a base of its own sets, below FeatureView."""
    return {name for cls in view.__mro__[: view.__mro__.index(FeatureView)] for name in vars(cls)}


def _declared_view(package: str, label: str, mistakes: Mistakes) -> type[FeatureView] | None:
    try:
        module = import_module(f"{package}.feature")
    except ModuleNotFoundError as error:
        if error.name in {f"{package}.feature", package}:
            name = package.rpartition(".")[2].strip("@").title()
            return type(name, (FeatureView,), {"__module__": package})
        mistakes.append(import_failed(f"{package}.feature", label, error))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a module of the user's raises is the message
        mistakes.append(import_failed(f"{package}.feature", label, error))
        return None
    return _only_view(module, label, mistakes)


def _only_view(module: ModuleType, label: str, mistakes: Mistakes) -> type[FeatureView] | None:
    views = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, FeatureView) and value.__module__ == module.__name__
    }
    if len(views) != 1:
        names = ", ".join(sorted(view.__name__ for view in views))
        found = f"it defines {names}: import all but one from elsewhere" if views else "it defines none"
        mistakes.append(
            InvalidFeature(f"feature {label}: {module.__file__} must define exactly one FeatureView subclass; {found}")
        )
        return None
    return views.pop()


# Paths


def _path_of(segments: tuple[str, ...], label: str, mistakes: Mistakes) -> str:
    return "/".join(_segment(segment, label, mistakes) for segment in segments)


def _segment(name: str, label: str, mistakes: Mistakes) -> str:
    name = unicodedata.normalize("NFC", name)
    if name.startswith("@"):
        mistakes.append(
            InvalidRoute(
                f"feature {label}: the folder {name!r} is a method and must be the last one; move what is in it"
            )
        )
    if "[" not in name and "]" not in name:
        return name
    match = PARAMETER.fullmatch(name)
    if match is None:
        mistakes.append(
            InvalidRoute(
                f"feature {label}: the folder {name!r} is no route parameter; write [order_id] or [order_id=int]"
            )
        )
        return name.strip("[]") or "_"
    return f"<{match['converter'] or 'str'}:{match['name']}>"


def _slashed(route: str, view: type[FeatureView]) -> str:
    route = route.lstrip("/")
    if view.path is not None or not route:
        return route
    return f"{route}/" if conf.append_slash else route


def shape_of(route: str) -> str:
    """*route* with its parameters' names left out: ``[id]`` and ``[pk]`` are the same place."""
    return re.sub(r"<(?:(\w+):)?\w+>", lambda match: f"<{match[1] or 'str'}>", route)


def _collisions(routes: tuple[Route, ...]) -> Iterator[DuplicateRoute | InvalidRoute]:
    seen: dict[tuple[str, str], Route] = {}
    places: dict[str, Route] = {}
    for route in routes:
        place = places.setdefault(shape_of(route.path), route)
        if place.path != route.path:
            yield InvalidRoute(
                f"{place.path} ({place.package}) and {route.path} ({route.package}) are one place with two names for "
                "its parameter; use one name"
            )
        methods = METHODS if route.method is None else (route.method,)
        firsts = [seen.setdefault((method, shape_of(route.path)), route) for method in methods]
        for method, first in zip(methods, firsts, strict=True):
            if first is not route:
                yield DuplicateRoute(
                    f"{method} {route.path or '/'} is answered by two features: {first.label} ({first.package}) and "
                    f"{route.label} ({route.package}); change the path or the method of one of them"
                )
                break
