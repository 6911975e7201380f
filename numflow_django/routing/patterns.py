"""Makes URL patterns of features: one pattern for each path, whose view serves all its methods."""

import re
from collections.abc import Callable, Iterator
from functools import partial, update_wrapper
from typing import Any

from django.contrib.auth.decorators import login_not_required, login_required
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from ..conf import conf
from ..discovery.label import label_of
from ..discovery.registry import registry
from ..exceptions import DuplicateURLName, InvalidRoute
from .paths import parameters_of, precedence, problems_of, shape_of
from .route import Route
from .scan import scan

#: The attributes of a view that name its class; Django REST Framework's schemas read the last two.
INTRODUCTION = ("view_class", "view_initkwargs", "cls", "initkwargs")

View = Callable[..., HttpResponseBase]


class FeatureURLs(list[URLPattern]):
    """A list of URL patterns with the namespace that ``include()`` reads."""

    def __init__(self, patterns: Iterator[URLPattern], app_name: str) -> None:
        super().__init__(patterns)
        self.app_name = app_name


def feature_urls(package: str) -> FeatureURLs:
    """
    Return the URL patterns of all features in *package*, a dotted name such as ``"shop.features"``, at any depth.

    Put them into ``urlpatterns`` with ``include``: ``reverse("shop:orders-post")`` is then the URL of
    ``shop/features/orders/@post``. Every mistake in the folders is kept for ``manage.py check`` and stops the server
    at start-up: InvalidFeatures is raised where no system checks follow. Raise TypeError if *package* is not a str.
    """
    if not isinstance(package, str):
        raise TypeError(f"feature_urls({package!r}): give the dotted name of a package, such as 'shop.features'")
    namespace = namespace_of(package)
    patterns = FeatureURLs(_patterns(scan(package), namespace), namespace)
    registry.raise_mistakes()
    return patterns


def namespace_of(package: str) -> str:
    """Return the namespace of *package*, with which its features' labels begin: ``"shop"`` for ``shop.features``."""
    return label_of(f"{package}.feature").removesuffix(".feature")


def _patterns(routes: tuple[Route, ...], namespace: str) -> Iterator[URLPattern]:
    by_path: dict[str, list[Route]] = {}
    by_name: dict[tuple[str, ...], Route] = {}
    for route in routes:
        by_path.setdefault(shape_of(route.path), []).append(route)
    for group in sorted(by_path.values(), key=lambda group: precedence(group[0].path)):
        # One view for all; the patterns after the first are there for reverse() and for tools that list URLs
        for route, view in zip(group, _views(group), strict=True):
            name = _name(route.label.removeprefix(f"{namespace}."))
            _note_namesake(by_name.setdefault((name, *sorted(parameters_of(route.path))), route), route, name)
            yield _pattern(route, view, name)


def _pattern(route: Route, view: Callable[..., HttpResponseBase], name: str) -> URLPattern:
    problems = list(problems_of(route.path))
    try:
        pattern = path("" if problems else route.path, view, name=name)
    except ImproperlyConfigured as error:
        problems.append(str(error))
    for problem in problems:
        where = f"feature {route.label}: {route.folder}: its path is {route.path!r}"
        registry.note(InvalidRoute(f"{where}: {problem}"))
    return path(re.sub(r"[<>:]", "_", route.path), view) if problems else pattern


def _note_namesake(first: Route, second: Route, name: str) -> None:
    if shape_of(first.path) != shape_of(second.path):
        registry.note(
            DuplicateURLName(
                f"the URLs of two features are both named {name!r}: /{first.path} ({first.folder}) and /{second.path} "
                f"({second.folder}); rename one of the folders"
            )
        )


def _name(label: str) -> str:
    """Return the URL's name: ``"orders-order_id-get"`` for ``orders.[order_id=int].@get``."""
    return re.sub(r"[@\[\]:]|=\w+", "", label).replace(".", "-")


def _views(routes: list[Route]) -> list[View]:
    """Return the views of one path, one for each feature; each of them serves all methods of the path."""
    own: list[View] = [route.view.as_view() for route in routes]
    if len(own) == 1:
        return own
    shared = _shared_view(routes, own)
    return [_introduced(shared, view) for view in own]


def _introduced(shared: View, own: View) -> View:
    """Return *shared* with the class of *own*, for tools that list URLs and read a view's class."""
    view = update_wrapper(partial(shared), shared)
    vars(view).update({name: value for name, value in vars(own).items() if name in INTRODUCTION})
    return view


def _shared_view(routes: list[Route], own: list[View]) -> View:
    """Return one view for all methods of a path."""
    views = {method: view for route, view in zip(routes, own, strict=True) for method in route.methods}
    exempt, is_open = _share_csrf(views), _share_login(views)
    allowed = [*views] + ["HEAD"] * ("GET" in views) + ["OPTIONS"]

    def by_method(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        view = views.get("GET" if request.method == "HEAD" else request.method or "")
        if view is not None:
            response = view(request, *args, **kwargs)
            if response.has_header("Allow"):
                response.headers["Allow"] = ", ".join(allowed)  # a view of Django REST Framework names its method only
            return response
        if request.method == "OPTIONS":
            return HttpResponse(headers={"Allow": ", ".join(allowed), "Content-Length": "0"})
        return HttpResponseNotAllowed(allowed)

    for alias in {route.view.using for route in routes}:
        transaction.non_atomic_requests(using=alias)(by_method)
    _title(by_method, routes)
    shared: View = login_not_required(by_method) if is_open else by_method
    return csrf_exempt(shared) if exempt else shared


def _title(view: Any, routes: list[Route]) -> None:
    """Set the name and docstring, which tools print, of a view that several features share."""
    view.__module__ = routes[0].package.rpartition(".")[0]
    view.__name__ = view.__qualname__ = "_or_".join(method.lower() for route in routes for method in route.methods)
    view.__doc__ = f"One of {', '.join(route.label for route in routes)}, by the method of the request."
    view.view_classes = tuple(route.view for route in routes)


def _share_csrf(views: dict[str, View]) -> bool:
    """
    Return whether the view that the methods share is CSRF-exempt.

    The middleware checks the path's view and not the method's; if the methods differ, each one that is not exempt gets
    its own protection.
    """
    exempt = {method for method, view in views.items() if getattr(view, "csrf_exempt", False)}
    if exempt and conf.has_csrf_middleware:
        views |= {method: csrf_protect(view) for method, view in views.items() if method not in exempt}
    return bool(exempt)


def _share_login(views: dict[str, View]) -> bool:
    """Return whether LoginRequiredMiddleware lets visitors reach the shared view; as with CSRF."""
    is_open = {method for method, view in views.items() if not getattr(view, "login_required", True)}
    if is_open and conf.has_login_middleware:
        views |= {method: login_required(view) for method, view in views.items() if method not in is_open}
    return bool(is_open)
