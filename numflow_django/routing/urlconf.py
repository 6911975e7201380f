"""Finds the features that the site's URLconf routes, and the views that answer at their URLs."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from inspect import isfunction
from types import CellType
from typing import Any

from django.http import HttpResponseBase
from django.urls import Resolver404, URLResolver, get_resolver, resolve
from django.urls.resolvers import LocalePrefixPattern, RoutePattern

from ..conf import conf
from ..views import FeatureView
from .paths import TYPED

#: A value for a parameter, by its converter. No site should have a static route with this name.
SAMPLES = {
    "int": "7919183",
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "slug": "a-numflow-sample",
    "str": "a numflow sample",
    "path": "a/numflow/sample",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """One URL pattern of the site's that leads to features."""

    route: str  # with the prefixes of all include(), as Django prints it
    callback: Callable[..., HttpResponseBase]
    views: tuple[type[FeatureView], ...]
    is_plain: bool  # made of path() only, so that we can build a URL for it

    @property
    def rival(self) -> str | None:
        """Return the name of the view that answers at its URL instead; None if it answers itself or we cannot know."""
        url = TYPED.sub(lambda match: SAMPLES.get(match["converter"] or "str", match[0]), self.route)
        if not self.is_plain or re.search("[<>]", url):
            return None
        try:
            found = resolve(f"/{url}").func
        except Resolver404:
            return None
        return None if views_of(found) == self.views else _name(found)


def places() -> Iterator[Place]:
    """Yield the site's URL patterns that lead to features, in the order in which Django tries them."""
    if conf.root_urlconf:
        yield from _walk(get_resolver(), "", is_plain=True)


def _walk(resolver: URLResolver, prefix: str, *, is_plain: bool) -> Iterator[Place]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern).removeprefix("^")
        plain = is_plain and isinstance(pattern.pattern, RoutePattern | LocalePrefixPattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, route, is_plain=plain)
        elif views := views_of(pattern.callback):
            yield Place(route=route, callback=pattern.callback, views=views, is_plain=plain)


def _name(callback: Any) -> str:
    view = callback if hasattr(callback, "view_classes") else getattr(callback, "view_class", callback)
    return f"{view.__module__}.{getattr(view, '__qualname__', type(view).__name__)}"


def views_of(callback: object) -> tuple[type[FeatureView], ...]:
    """
    Return the FeatureViews that answer when Django calls *callback*; none if it is another view.

    A decorator need not use ``functools.wraps``: if *callback* does not name its class, its closure is searched.
    """
    found: dict[type[FeatureView], None] = {}
    seen: dict[int, object] = {}
    waiting = [callback]
    while waiting:
        thing = waiting.pop()
        if id(thing) not in seen:
            seen[id(thing)] = thing
            classes = _classes_of(thing)
            found |= dict.fromkeys(classes)
            waiting += () if classes else _enclosed(thing)
    return tuple(found)


def _classes_of(thing: object) -> list[type[FeatureView]]:
    if not callable(thing):
        return []  # reading an attribute would load a lazy object
    classes = getattr(thing, "view_classes", None) or (getattr(thing, "view_class", None),)
    return [view for view in classes if isinstance(view, type) and issubclass(view, FeatureView)]


def _enclosed(thing: object) -> Iterable[object]:
    if isinstance(thing, dict):
        return thing.values()
    if isinstance(thing, list | tuple):
        return thing
    if isinstance(thing, partial):
        return [thing.func]
    if isfunction(thing):
        return [cell.cell_contents for cell in thing.__closure__ or () if cell != _EMPTY]
    return []


#: The cell of a variable that was never assigned: to read it is an error.
_EMPTY = CellType()
