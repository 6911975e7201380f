"""
Folders -> features -> URL patterns.

A folder with a ``feature.py`` is an explicit feature; a folder named ``@get @post @put @patch @delete`` is an implicit
one, whose method and path come from the folders: ``orders/[order_id=int]/@get`` is ``GET orders/<int:order_id>/``.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from .conf import conf
from .discovery import Mistakes, import_package, package_folder
from .exceptions import DuplicateRoute, InvalidFeature, InvalidRoute, ModuleImportFailed
from .registry import METHODS, label_of, registry
from .views import FeatureView

#: A folder that is a route parameter: [order_id], [order_id=int].
PARAMETER = re.compile(r"\[(?P<name>[^\W\d]\w*)(?:=(?P<converter>\w+))?\]")

#: Folders of a feature that hold no features themselves.
PARTS = frozenset({"steps", "async_tasks"})


@dataclass(frozen=True, kw_only=True)
class Route:
    """One feature and where it answers."""

    view: type[FeatureView]
    label: str
    package: str
    method: str | None
    path: str  # Django's route syntax, without a leading slash


def feature_urls(package: str) -> list[URLPattern]:
    """
    Give the URL patterns of all features in *package*, a dotted name such as ``"shop.features"``, at any depth.

    Put them into ``urlpatterns`` with ``include``. Every mistake in the folders is kept for ``manage.py check`` and
    stops the server at start-up.
    """
    return _patterns(scan(package))


@cache
def scan(package_name: str) -> tuple[Route, ...]:
    """Find, import and register the features of a package, once for each process."""
    mistakes: Mistakes = []
    package = import_package(package_name, package_name, mistakes)
    if package is None:
        if not mistakes:
            mistakes.append(
                InvalidFeature(f"the package {package_name!r} of features does not exist; create the folder")
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
    elif segments and (folder / "steps").is_dir() and not _holds_features(folder / "steps"):
        mistakes.append(
            InvalidFeature(
                f"{folder} holds steps but is no feature; add a feature.py with a FeatureView, or name the folder "
                "after its method, such as @post"
            )
        )
    for child in sorted(folder.iterdir()):
        # "steps" is a resource's name like any other, unless it is the steps of a feature
        inner = child.is_dir() and not child.name.startswith(("_", ".")) and not (is_feature and child.name in PARTS)
        if inner and not (child.name in PARTS and not _holds_features(child)):
            yield from _walk(f"{package}.{child.name}", child, (*segments, child.name), mistakes)


def _holds_features(folder: Path) -> bool:
    return any(_is_method(child.name) or child.name == "feature.py" for child in folder.rglob("*"))


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
    route = view.path if view.path is not None else _path_of(segments, label, mistakes)
    feature = registry.register(view, package=package)
    return Route(view=view, label=feature.label, package=package, method=view.method, path=_slashed(route, view))


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
        mistakes.append(ModuleImportFailed(_failed(package, label, error)))
        return None
    except Exception as error:  # noqa: BLE001 - whatever a module of the user's raises is the message
        mistakes.append(ModuleImportFailed(_failed(package, label, error)))
        return None
    return _only_view(module, label, mistakes)


def _failed(package: str, label: str, error: Exception) -> str:
    return f"feature {label}: the import of '{package}.feature' failed: {type(error).__name__}: {error}"


def _only_view(module: ModuleType, label: str, mistakes: Mistakes) -> type[FeatureView] | None:
    views = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, FeatureView) and value.__module__ == module.__name__
    ]
    if len(views) != 1:
        names = ", ".join(view.__name__ for view in views) or "none"
        mistakes.append(
            InvalidFeature(
                f"feature {label}: {module.__file__} must define exactly one FeatureView subclass; it defines {names}"
            )
        )
        return None
    return views[0]


# Paths


def _path_of(segments: tuple[str, ...], label: str, mistakes: Mistakes) -> str:
    return "/".join(_segment(segment, label, mistakes) for segment in segments)


def _segment(name: str, label: str, mistakes: Mistakes) -> str:
    if not name.startswith("["):
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
        methods = METHODS if route.method is None else (route.method.upper(),)
        firsts = [seen.setdefault((method, _shape(route.path)), route) for method in methods]
        for method, first in zip(methods, firsts, strict=True):
            if first is not route:
                yield DuplicateRoute(
                    f"{method} {route.path or '/'} is answered by two features: {first.label} ({first.package}) and "
                    f"{route.label} ({route.package}); change the path or the method of one of them"
                )
                break


# Patterns


def _patterns(routes: tuple[Route, ...]) -> list[URLPattern]:
    by_path: dict[str, list[Route]] = {}
    for route in routes:
        by_path.setdefault(_shape(route.path), []).append(route)
    ordered = sorted(by_path.values(), key=lambda group: _precedence(group[0].path))
    return [_pattern(group) for group in ordered]


def _precedence(route: str) -> list[tuple[bool, str]]:
    """Static before parametric at the same depth."""
    return [("<" in segment, segment) for segment in route.split("/")]


def _pattern(routes: list[Route]) -> URLPattern:
    first = routes[0]
    name = first.label.partition(".")[2].replace("@", "").replace(".", "-")
    try:
        return path(first.path, _view(routes), name=name)
    except ImproperlyConfigured as error:
        registry.mistakes.append(InvalidRoute(f"feature {first.label}: path = {first.path!r}: {error}"))
        return path(re.sub(r"[<>:]", "_", first.path), _view(routes))


def _view(routes: list[Route]) -> Callable[..., HttpResponseBase]:
    """One view for all methods of a path."""
    views: dict[str | None, Callable[..., HttpResponseBase]] = {
        route.method.upper() if route.method else None: route.view.as_view() for route in routes
    }
    if len(views) == 1:
        return next(iter(views.values()))
    exempt = _share_csrf(views)
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
    return csrf_exempt(by_method) if exempt else by_method


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
