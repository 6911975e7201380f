"""Features -> URL patterns: one pattern for each path, whose view serves all its methods."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from .conf import conf
from .exceptions import InvalidRoute
from .folders import Route, scan, shape_of
from .registry import registry

#: How much a parameter takes, by its converter: a narrow one is tried first. Custom converters are narrow.
WIDTHS = {"int": 1, "uuid": 1, "slug": 2, "str": 3, "path": 4}


def feature_urls(package: str) -> list[URLPattern]:
    """
    Give the URL patterns of all features in *package*, a dotted name such as ``"shop.features"``, at any depth.

    Put them into ``urlpatterns`` with ``include``. Every mistake in the folders is kept for ``manage.py check`` and
    stops the server at start-up: InvalidFeatures is raised where no system checks follow.
    """
    patterns = list(_patterns(scan(package)))
    registry.raise_mistakes()
    return patterns


def _patterns(routes: tuple[Route, ...]) -> Iterator[URLPattern]:
    by_path: dict[str, list[Route]] = {}
    for route in routes:
        by_path.setdefault(shape_of(route.path), []).append(route)
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
