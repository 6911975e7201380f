"""Lists every feature with the URLs that reach it, for ``manage.py numflow_features``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps

from ..discovery.attributes import attribute_names
from ..discovery.modules import Module
from ..discovery.registry import Feature, load_routes, registry
from ..views import FeatureView
from .scan import scan
from .urlconf import places

#: The attributes of a feature that have no value in JSON.
NOT_IN_JSON = {"decorators"}


@dataclass(frozen=True, kw_only=True)
class ListedFeature:
    """One feature, with the URLs that reach it."""

    feature: Feature
    app: str  # the app's label; outside all apps the first part of the package
    method: str | None  # in capitals; None: every method
    path: str | None  # what its folders or its class say; None: its folders are not among those that are scanned
    urls: tuple[str, ...]  # with the prefixes of include(), as the URLconf writes them; empty: no URL reaches it

    def as_json(self) -> dict[str, Any]:
        """Return the dict that ``--json`` prints. Its keys are an interface: add some, never change one."""
        feature = self.feature
        facts = {
            "label": feature.label,
            "app": self.app,
            "declared_in": feature.declared_in,
            "method": self.method,
            "path": self.path,
            "urls": list(self.urls),
            "queue": feature.queue,
            "steps": [_module(step) for step in feature.steps],
            "async_tasks": [_module(task) | _rules(feature, task) for task in feature.tasks],
        }
        others = [name for name in attribute_names() if name not in {*facts, *NOT_IN_JSON}]
        return facts | {name: getattr(feature.declared, name) for name in others}


def _module(module: Module) -> dict[str, Any]:
    return {"number": module.number, "name": module.name, "file": module.file, "is_async": module.is_async}


def _rules(feature: Feature, task: Module) -> dict[str, Any]:
    policy = feature.policy(task)
    return {
        "timeout": policy.seconds,
        "max_attempts": policy.attempts,
        "atomic": policy.atomic,
        "stop_on_failure": policy.stop_on_failure,
        "start_after": policy.start_after,
    }


def catalogue(packages: Iterable[str]) -> list[ListedFeature]:
    """
    Return all features of this process by label, those that the URLconf routes by hand too.

    *packages* are those that are scanned at start-up. Raise what the import of the URLconf raises.
    """
    load_routes()
    paths = {route.label: route.path for package in packages for route in scan(package)}
    urls: dict[type[FeatureView], list[str]] = {}
    for place in places():
        for view in place.views:
            urls.setdefault(view, []).append(f"/{place.route}")
    views = {_key(view): view for view in _subclasses(FeatureView)}
    # A class without references no longer answers requests
    known = [(feature, views[feature.declared_in]) for feature in registry if feature.declared_in in views]
    return [_listed(feature, view, paths.get(feature.label, view.path), urls.get(view, ())) for feature, view in known]


def _listed(feature: Feature, view: type[FeatureView], path: str | None, urls: Iterable[str]) -> ListedFeature:
    config = apps.get_containing_app_config(feature.package)
    return ListedFeature(
        feature=feature,
        app=config.label if config else feature.package.partition(".")[0],
        method=None if view.method is None else str(view.method).upper(),
        path=path,
        urls=tuple(dict.fromkeys(urls)),
    )


def _key(view: type[FeatureView]) -> str:
    """Return the :attr:`Feature.declared_in` of *view*."""
    return f"{view.__module__}.{view.__qualname__}"


def _subclasses(view: type[FeatureView]) -> Iterator[type[FeatureView]]:
    for subclass in view.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
