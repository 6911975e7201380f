"""
Finds the features that a tree of folders declares.

A folder with a ``feature.py`` is an explicit feature; a folder named ``@get @post @put @patch @delete`` is an implicit
one, whose method and path come from the folders: ``orders/[order_id=int]/@get`` is ``GET orders/<int:order_id>/``.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from django.apps import apps

from ..conf import conf
from ..discovery.attribute_problems import BUILT_IN, METHODS
from ..discovery.errors import ConfigurationErrors, import_failed, missing_features, package_folder
from ..discovery.label import label_of
from ..discovery.listing import PARTS, Folder
from ..discovery.modules import import_folder, import_package
from ..discovery.registry import registry
from ..exceptions import InvalidFeature, InvalidRoute
from ..text.suggestions import one_of
from ..views import FeatureView
from .orphans import app_for_features, is_app, is_method, meant_as_feature, misplaced_modules, unclaimed, unimportable
from .paths import joined, meant_parameter, normal, problem_in, segment_of
from .route import Route, collisions


def feature_packages() -> Iterator[str]:
    """Yield the packages to scan: ``NUMFLOW["FEATURES"]``, or ``features`` of every installed app that has one."""
    if conf.FEATURES is not None:
        yield from [conf.FEATURES] if isinstance(conf.FEATURES, str) else conf.FEATURES
        return
    for config in apps.get_app_configs():
        # An app may be a single module, in which find_spec() cannot look
        spec = find_spec(f"{config.name}.features") if hasattr(config.module, "__path__") else None
        if spec is not None and spec.submodule_search_locations is not None:
            yield spec.name


@cache
def scan(package_name: str) -> tuple[Route, ...]:
    """Find, import and register the features of a package, once for each process."""
    mistakes: ConfigurationErrors = []
    routes: tuple[Route, ...] = ()
    package = import_package(package_name, "", mistakes)
    if package is not None:
        folder = Folder(package_folder(package))
        mistakes += app_for_features(package_name, folder)
        routes = () if mistakes else tuple(_walk(package.__name__, folder, (), mistakes))
    elif not mistakes:
        mistakes.append(missing_features(package_name))
    for mistake in [*mistakes, *collisions(routes)]:
        registry.note(mistake)  # another package's scan may include this one
    registry.scanned[package_name] = tuple(route.label for route in routes)
    return routes


def _walk(
    package: str, folder: Folder, segments: tuple[str, ...], mistakes: ConfigurationErrors, *, in_feature: bool = False
) -> Iterator[Route]:
    """Yield the routes of one folder and of those below it."""
    method = _method_of(folder, package, mistakes)
    is_feature = method is not None or "feature.py" in folder.files
    if is_feature:
        route = _route(package, folder, method, segments if method is None else segments[:-1], mistakes)
        if route:
            yield route
        # Steps in the feature's folder itself are reported with the missing folder "steps"
        is_reported = route is not None and route.view.steps is None and folder.is_flat
        places = folder.folders if is_reported else (folder, *folder.folders)
        mistakes += misplaced_modules(folder, places, label_of(package))
    elif not in_feature:
        mistakes += unclaimed(folder, is_root=not segments)
    for child in folder.folders:
        if child.name == "migrations" and is_app(package):
            continue  # Django's migrations have numbers too
        # "steps" may be the name of a resource, unless it holds the steps of a feature
        if is_feature and child.name in PARTS:
            continue
        problem = unimportable(folder, child)
        if problem:
            mistakes.append(problem)
        elif "." not in child.name:
            inner = (*segments, child.name)
            yield from _walk(f"{package}.{child.name}", child, inner, mistakes, in_feature=is_feature)


def _method_of(folder: Folder, package: str, mistakes: ConfigurationErrors) -> str | None:
    if not folder.name.startswith("@"):
        return None
    if not is_method(folder.name):
        remedy = one_of(folder.name, [f"@{method.lower()}" for method in METHODS])
        if folder.name[1:].upper() in BUILT_IN:
            remedy = "a URL answers HEAD and OPTIONS by itself: remove the folder"
        mistakes.append(
            InvalidRoute(f"feature {label_of(package)}: {folder}: {folder.name!r} is not a method; {remedy}")
        )
        return None
    return folder.name[1:].upper()


def _route(
    package: str, folder: Folder, method: str | None, segments: tuple[str, ...], mistakes: ConfigurationErrors
) -> Route | None:
    label = label_of(package)
    view = _declared_view(package, folder, label, mistakes)
    if view is None:
        return None
    if method is not None and not _sets_method(view):
        view.method = method
    found = (
        [] if "feature.py" in folder.files else [*meant_as_feature(folder, label), *_views_of_package(package, label)]
    )
    feature = registry.register(view, package=package, mistakes=found)
    path = _path_of(view, segments, f"feature {label}: {folder}", mistakes)
    if path is None:
        return None
    return Route(
        view=view,
        label=feature.label,
        package=package,
        folder=folder.path,
        method=None if view.method is None else str(view.method).upper(),
        path=path,
    )


def _sets_method(view: type[FeatureView]) -> bool:
    """Return whether a class between FeatureView and *view* sets the methods, as a form's base class does."""
    return any("method" in vars(cls) for cls in view.__mro__[: view.__mro__.index(FeatureView)])


def _declared_view(package: str, folder: Folder, label: str, mistakes: ConfigurationErrors) -> type[FeatureView] | None:
    name = package
    try:
        import_folder(name)
        if "feature.py" not in folder.files:
            return type(folder.name.strip("@").title(), (FeatureView,), {"__module__": package})
        name = f"{package}.feature"
        module = import_module(name)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything; the message quotes it
        mistakes.append(import_failed(name, f"feature {label}: ", error))
        return None
    return _only_view(module, label, mistakes)


def _views_of_package(package: str, label: str) -> Iterator[InvalidFeature]:
    """Yield a mistake for FeatureViews in the ``__init__.py`` of a feature without a ``feature.py``."""
    module = sys.modules[package]
    for view in _own_views(module):
        yield InvalidFeature(
            f"feature {label}: {module.__file__} defines {view.__name__}, which would be ignored; move it into a "
            "feature.py beside it"
        )


def _own_views(module: ModuleType) -> list[type[FeatureView]]:
    """Return the FeatureViews that *module* itself defines."""
    classes = {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, FeatureView)}
    return sorted((view for view in classes if view.__module__ == module.__name__), key=lambda view: view.__name__)


def _only_view(module: ModuleType, label: str, mistakes: ConfigurationErrors) -> type[FeatureView] | None:
    views = _own_views(module)
    if len(views) != 1:
        names = " and ".join(view.__name__ for view in views)
        found = (
            f"it defines {names}; move all but one into another module"
            if views
            else "it defines none; write class CreateOrder(FeatureView): ..."
        )
        mistakes.append(
            InvalidFeature(f"feature {label}: {module.__file__} must define exactly one FeatureView subclass; {found}")
        )
        return None
    return views.pop()


def _path_of(
    view: type[FeatureView], segments: tuple[str, ...], where: str, mistakes: ConfigurationErrors
) -> str | None:
    """Return the route of a feature: its ``path``, otherwise that of its folders."""
    declared: Any = view.path
    if declared is None:
        return joined(_segment(name, where, mistakes) for name in segments)
    if not isinstance(declared, str):
        mistakes.append(InvalidFeature(f"{where}: path = {declared!r} is not a str; write path = 'api/orders/'"))
        return None
    problem = problem_in(declared)
    if problem:
        mistakes.append(InvalidRoute(f"{where}: path = {declared!r} {problem}"))
        return None
    return normal(declared)


def _segment(name: str, where: str, mistakes: ConfigurationErrors) -> str:
    if name.startswith("@"):
        problem = f"the folder {name!r} is a method and must be the last one; move what is in it"
        mistakes.append(InvalidRoute(f"{where}: {problem}"))
    if re.search("[?#]", name):
        problem = f"the folder {name!r} contains '?' or '#', which no path of a URL can contain; rename it"
        mistakes.append(InvalidRoute(f"{where}: {problem}"))
    segment = segment_of(name)
    if segment is None:
        problem = f"the folder {name!r} is not a route parameter; {meant_parameter(name)}"
        mistakes.append(InvalidRoute(f"{where}: {problem}"))
        return "".join(character for character in name if character.isalnum()) or "_"
    return segment
