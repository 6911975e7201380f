"""Verifies a new feature: lets discovery check its folder, and finds an example of its URL."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpResponse
from django.urls import path

from ..discovery.registry import registry
from ..exceptions import InvalidFeatures
from ..routing.paths import TYPED, problems_of
from ..routing.route import Route
from ..routing.scan import scan
from .plan import Blueprint, ScaffoldError

#: Values for a route's parameter; the first one that its converter accepts is used.
SAMPLES = ("1", "a", "2026", "2026-01-01", "01890a5d-ac96-774b-bcce-b302099a8057", "20260101", "aa", "AA")


class Trial:
    """Checks a new feature with discovery. Create it before the feature is written, to know the older mistakes."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        if Path(blueprint.app.path, "features").is_dir():
            scan(blueprint.root)
        self._known = {str(mistake) for mistake in registry.mistakes}

    def route(self) -> Route:
        """
        Run discovery on the written feature and return its route.

        Raise InvalidFeatures with the new mistakes, or ScaffoldError if discovery does not find the feature.
        """
        # The process ends with the command, so no other code relies on the old results
        invalidate_caches()
        scan.cache_clear()
        routes = scan(self.blueprint.root)
        mistakes = [mistake for mistake in registry.mistakes if str(mistake) not in self._known]
        if mistakes:
            raise InvalidFeatures(mistakes)
        found = next((route for route in routes if route.package == self.blueprint.package), None)
        if found is None:
            raise ScaffoldError(f"discovery ignores {self.blueprint.folder}; choose another folder")
        return found


@dataclass(frozen=True, kw_only=True)
class Example:
    """A URL of a route, with values for its parameters."""

    url: str
    values: Mapping[str, Any]  # parameter -> its value in a JSON response


def example_of(route: str) -> Example:
    """
    Return a URL of *route*, Django's route syntax with a leading slash.

    Raise ScaffoldError if no value is known for a parameter, or if JSON cannot represent its value.
    """
    for problem in problems_of(route):
        raise ScaffoldError(f"path = {route.lstrip('/')!r}: {problem}")
    try:
        converters = path(route, HttpResponse).pattern.converters
    except ImproperlyConfigured as error:
        raise ScaffoldError(f"path = {route.lstrip('/')!r}: {error}") from error
    samples = {name: _sample(name, converter) for name, converter in converters.items()}
    url = TYPED.sub(lambda match: samples[match["name"]], route)
    return Example(url=url, values={name: _value(name, converters[name], text) for name, text in samples.items()})


def _sample(name: str, converter: Any) -> str:
    for text in SAMPLES:
        try:
            converter.to_python(text)
        except ValueError:
            continue
        if re.fullmatch(converter.regex, text):
            return text
    raise ScaffoldError(
        f"no value is known for the parameter {name!r} with its converter {type(converter).__name__}, so no test can "
        "be written; write the folder by hand"
    )


def _value(name: str, converter: Any, text: str) -> Any:
    try:
        return json.loads(json.dumps(converter.to_python(text), cls=DjangoJSONEncoder))
    except TypeError as error:
        raise ScaffoldError(
            f"the parameter {name!r} with its converter {type(converter).__name__} returns a value that JSON "
            f"cannot represent ({error}); write the folder by hand"
        ) from error
