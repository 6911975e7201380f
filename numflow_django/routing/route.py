"""A feature's route, and the mistakes of routes that collide."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..discovery.attribute_problems import METHODS
from ..exceptions import DuplicateRoute, InvalidRoute
from ..views import FeatureView
from .paths import shape_of, untyped


@dataclass(frozen=True, kw_only=True)
class Route:
    """One feature, with its method and path."""

    view: type[FeatureView]
    label: str
    package: str
    folder: Path
    method: str | None  # in capitals; None: every method
    path: str  # Django's route syntax, without a leading slash

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that it accepts, without HEAD and OPTIONS; GET and POST for a form."""
        if self.method is not None:
            return (self.method,)
        return tuple(method for method in METHODS if method.lower() in self.view.http_method_names)


def collisions(routes: tuple[Route, ...]) -> Iterator[DuplicateRoute | InvalidRoute]:
    """Yield the mistakes of features whose routes collide."""
    places: dict[str, Route] = {}
    by_method: dict[tuple[str, str], Route] = {}
    for route in routes:
        shape = shape_of(route.path)
        first = places.setdefault(shape, route)
        taken = {method: by_method.setdefault((method, shape), route) for method in route.methods}
        twice = next((method for method, other in taken.items() if other is not route), None)
        if twice:
            yield _duplicate(twice, taken[twice], route)
        elif first.path != route.path:
            yield _clash(first, route, "have different names for one parameter; use one name")
    yield from _different_converters(routes)


def _different_converters(routes: tuple[Route, ...]) -> Iterator[InvalidRoute]:
    """Yield mistakes such as ``[id=int]/@get`` beside ``[id]/@delete``: the narrower one would refuse DELETE ``7``."""
    meant: dict[str, dict[str, list[Route]]] = {}
    for route in routes:
        meant.setdefault(untyped(route.path), {}).setdefault(route.path, []).append(route)
    for places in meant.values():
        (first, *_), *others = places.values()
        methods = [{method for route in place for method in route.methods} for place in places.values()]
        if any(each != methods[0] for each in methods):
            yield _clash(
                first, others[0][0], "accept different methods, and a URL reaches only one of them; use one converter"
            )


def _duplicate(method: str, first: Route, second: Route) -> DuplicateRoute:
    return DuplicateRoute(
        f"{method} /{second.path} is answered by two features: {first.label} ({first.folder}) and {second.label} "
        f"({second.folder}); change the path or the method of one of them"
    )


def _clash(first: Route, second: Route, problem: str) -> InvalidRoute:
    return InvalidRoute(f"/{first.path} ({first.folder}) and /{second.path} ({second.folder}) {problem}")
