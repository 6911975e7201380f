"""
Folders -> features -> URL patterns.

A folder with a ``feature.py`` is an explicit feature; a folder named ``@get @post @put @patch @delete`` is an implicit
one, whose method and path come from the folders: ``orders/[order_id=int]/@get`` is ``GET orders/<int:order_id>/``.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from .conf import conf
from .discovery import NUMBERED, Mistakes, import_failed, import_package, package_folder
from .exceptions import DuplicateRoute, InvalidFeature, InvalidRoute, PackageMissing
from .registry import METHODS, label_of, registry
from .views import FeatureView

#: A folder that is a route parameter: [order_id], [order_id=int].
PARAMETER = re.compile(r"\[(?P<name>[^\W\d]\w*)(?:=(?P<converter>\w+))?\]")

#: A parameter of Django's that names no converter: <order_id> is <str:order_id>.
UNTYPED = re.compile(r"<(?=\w+>)")

#: How much a parameter takes, by its converter: a narrow one is tried first. Custom converters are narrow.
WIDTHS = {"int": 1, "uuid": 1, "slug": 2, "str": 3, "path": 4}

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


def feature_urls(package: str) -> list[URLPattern]:
    """
    Give the URL patterns of all features in *package*, a dotted name such as ``"shop.features"``, at any depth.

    Put them into ``urlpatterns`` with ``include``. Every mistake in the folders is kept for ``manage.py check`` and
    stops the server at start-up: InvalidFeatures is raised where no system checks follow.
    """
    patterns = list(_patterns(scan(package)))
    registry.raise_mistakes()
    return patterns


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


def _shape(route: str) -> str:
    """*route* with its parameters' names left out: ``[id]`` and ``[pk]`` are the same place."""
    return re.sub(r"<(?:(\w+):)?\w+>", lambda match: f"<{match[1] or 'str'}>", route)


def _collisions(routes: tuple[Route, ...]) -> Iterator[DuplicateRoute | InvalidRoute]:
    seen: dict[tuple[str, str], Route] = {}
    places: dict[str, Route] = {}
    for route in routes:
        place = places.setdefault(_shape(route.path), route)
        if place.path != route.path:
            yield InvalidRoute(
                f"{place.path} ({place.package}) and {route.path} ({route.package}) are one place with two names for "
                "its parameter; use one name"
            )
        methods = METHODS if route.method is None else (route.method,)
        firsts = [seen.setdefault((method, _shape(route.path)), route) for method in methods]
        for method, first in zip(methods, firsts, strict=True):
            if first is not route:
                yield DuplicateRoute(
                    f"{method} {route.path or '/'} is answered by two features: {first.label} ({first.package}) and "
                    f"{route.label} ({route.package}); change the path or the method of one of them"
                )
                break


# Patterns


def _patterns(routes: tuple[Route, ...]) -> Iterator[URLPattern]:
    by_path: dict[str, list[Route]] = {}
    for route in routes:
        by_path.setdefault(_shape(route.path), []).append(route)
    for group in sorted(by_path.values(), key=lambda group: _precedence(group[0].path)):
        view = _view(group)
        # One view for all; the patterns after the first are there for reverse() only
        yield from (_pattern(route, view) for route in group)


def _precedence(route: str) -> list[tuple[int, str]]:
    """Static before parametric at the same depth, and a narrow parameter before one that takes more."""
    return [(_width(segment), segment) for segment in route.split("/")]


def _width(segment: str) -> int:
    parameter = re.fullmatch(r"<(\w+):\w+>", segment)
    return WIDTHS.get(parameter[1], 1) if parameter else int("<" in segment)


def _pattern(route: Route, view: Callable[..., HttpResponseBase]) -> URLPattern:
    try:
        pattern = path(route.path, view, name=_name(route.label))
        _ = pattern.pattern.regex  # else Django compiles it at the first request, and fails that
    except (ImproperlyConfigured, re.error) as error:
        registry.note(InvalidRoute(f"feature {route.label}: path = {route.path!r}: {error}"))
        pattern = path(re.sub(r"[<>:]", "_", route.path), view)
    return pattern


def _name(label: str) -> str:
    """The URL's name: ``shop.orders.[order_id=int].@get`` is ``"orders-order_id-get"``."""
    return re.sub(r"[@\[\]]|=\w+", "", label.partition(".")[2]).replace(".", "-")


def _view(routes: list[Route]) -> Callable[..., HttpResponseBase]:
    """One view for all methods of a path."""
    views: dict[str | None, Callable[..., HttpResponseBase]] = {route.method: route.view.as_view() for route in routes}
    if len(views) == 1:
        return next(iter(views.values()))
    exempt, is_open = _share_csrf(views), _share_login(views)
    allowed = [method for method in views if method] + ["HEAD"] * ("GET" in views) + ["OPTIONS"]

    def by_method(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method
        view = views.get(method) or views.get(None)
        if view is not None:
            return view(request, *args, **kwargs)
        if request.method == "OPTIONS":
            return HttpResponse(headers={"Allow": ", ".join(allowed), "Content-Length": "0"})
        return HttpResponseNotAllowed(allowed)

    for alias in {route.view.using for route in routes}:
        transaction.non_atomic_requests(using=alias)(by_method)
    shared: Callable[..., HttpResponseBase] = login_not_required(by_method) if is_open else by_method
    return csrf_exempt(shared) if exempt else shared


def _share_csrf(views: dict[str | None, Callable[..., HttpResponseBase]]) -> bool:
    """
    Whether the view that the methods share is to be CSRF-exempt.

    The middleware asks the path's view and not the method's; when the methods differ, those that are not exempt are
    protected one by one.
    """
    exempt = {method for method, view in views.items() if getattr(view, "csrf_exempt", False)}
    if exempt and conf.has_csrf_middleware:
        views |= {method: csrf_protect(view) for method, view in views.items() if method not in exempt}
    return bool(exempt)


def _share_login(views: dict[str | None, Callable[..., HttpResponseBase]]) -> bool:
    """Whether LoginRequiredMiddleware is to let visitors pass to the shared view; the same as with CSRF."""
    is_open = {method for method, view in views.items() if not getattr(view, "login_required", True)}
    if is_open and conf.has_login_middleware:
        views |= {method: login_required(view) for method, view in views.items() if method not in is_open}
    return bool(is_open)
