"""Python values to tagged JSON; every refusal names the place and says what to store instead."""

import base64
import dataclasses
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model
from django.utils.functional import LazyObject, Promise

from ..exceptions import ContextValueError
from .tags import TAG, lookup

#: Containers in containers; far more than data needs, far less than Python's recursion limit.
MAX_DEPTH = 100


class DeletedInstance(ContextValueError):
    """A model instance that was deleted since it was stored; only the reference to it can still travel."""


def encode(value: Any, path: str) -> Any:
    """
    Give *value* as a tree of plain JSON values.

    Raise ContextValueError, naming the place under *path*, if it cannot travel.
    """
    return _Encoder().encode(value, path)


class _Encoder:
    def __init__(self) -> None:
        self.parents: list[int] = []

    def encode(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is int:
            return value
        if kind is str:
            return _text(value, path)
        if kind is float:
            return _finite(value, path)
        if kind in _CONTAINERS:
            return self._container(value, path)
        return self._tagged(value, path)

    def _container(self, value: Any, path: str) -> Any:
        if id(value) in self.parents:
            raise ContextValueError(f"{path} contains itself; a cycle cannot travel")
        if len(self.parents) >= MAX_DEPTH:
            raise ContextValueError(f"{path} is nested deeper than {MAX_DEPTH} levels")
        self.parents.append(id(value))
        try:
            return _CONTAINERS.get(type(value), _Encoder.dataclass)(self, value, path)
        finally:
            self.parents.pop()

    def list(self, value: list[Any] | tuple[Any, ...], path: str) -> list[Any]:
        return [self.encode(item, f"{path}[{index}]") for index, item in enumerate(value)]

    def tuple(self, value: tuple[Any, ...], path: str) -> Any:
        return {TAG: "tuple", "v": self.list(value, path)}

    def set(self, value: set[Any], path: str) -> Any:
        return {TAG: "set", "v": [self.encode(item, f"{path}{{...}}") for item in value]}

    def dict(self, value: dict[Any, Any], path: str) -> Any:
        encoded = {_key(key, path): self.encode(item, f"{path}[{key!r}]") for key, item in value.items()}
        return {TAG: "dict", "v": encoded} if TAG in encoded else encoded

    def _tagged(self, value: Any, path: str) -> Any:
        if isinstance(value, Promise):
            return _text(str(value), path)
        if isinstance(value, LazyObject):
            return self.encode(_unwrapped(value), path)
        if isinstance(value, Enum):
            return self._enum(value, path)
        if isinstance(value, Model):
            return self._model(value, path)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._container(value, path)
        for base, encode in _SCALARS.items():
            if isinstance(value, base):
                return encode(value, path)
        raise _refusal(value, path)

    def _enum(self, value: Enum, path: str) -> Any:
        where = _importable(type(value), path)
        if isinstance(value, Flag):
            return {TAG: "flag", "t": where, "v": self.encode(value.value, path)}
        return {TAG: "enum", "t": where, "v": value.name}

    def dataclass(self, value: Any, path: str) -> Any:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if hasattr(value, f.name)}
        encoded = {name: self.encode(item, f"{path}.{name}") for name, item in fields.items()}
        return {TAG: "dataclass", "t": _importable(type(value), path), "v": encoded}

    def _model(self, value: Model, path: str) -> Any:
        label = value._meta.label
        if value.pk is None and not value._state.adding:
            raise DeletedInstance(
                f"{path} is a {label} that has been deleted; store what you need of it as plain values"
            )
        if value.pk is None or value._state.adding:
            raise ContextValueError(f"{path} is an unsaved {label}; save it before the last step ends")
        return {TAG: "model", "m": label, "pk": self.encode(value.pk, f"{path}.pk"), "db": value._state.db}


def _text(value: str, path: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ContextValueError(f"{path} is a str with a lone surrogate, which is no Unicode text") from None
    return str(value)


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ContextValueError(f"{path} is {float(value)}, which JSON cannot hold; use None or a str")
    return float(value)


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str) or isinstance(key, Enum):
        raise ContextValueError(f"{path} is a dict with the key {key!r}, a {_name(type(key))}; keys must be str")
    return _text(key, f"the key {key!r} of {path}")


def _decimal(value: Decimal, path: str) -> Any:
    if value.is_nan():
        raise ContextValueError(f"{path} is Decimal('{value}'), which equals nothing; use None")
    return {TAG: "decimal", "v": str(value)}


def _zoned(tag: str, value: datetime | time) -> Any:
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return {TAG: tag, "v": value.isoformat()} | ({"tz": zone} if zone else {})


def _unwrapped(value: Any) -> Any:
    bool(value)  # any use of it makes a LazyObject find what it stands for
    return value._wrapped


def _importable(cls: type, path: str) -> str:
    """*cls* as ``module:qualname``, if a worker can find it there."""
    where = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__" or "<locals>" in where or lookup(where) is not cls:
        raise ContextValueError(f"{path} is a {where}, which a worker cannot import; define it at a module's top level")
    return where


def _refusal(value: Any, path: str) -> ContextValueError:
    advice = "store plain values, a model instance or a dataclass"
    for base, hint in _HINTS.items():
        if any(f"{cls.__module__}.{cls.__qualname__}".startswith(base) for cls in type(value).__mro__):
            advice = hint
            break
    return ContextValueError(f"{path} is a {_name(type(value))}, which cannot travel to the async tasks; {advice}")


def _name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_HINTS = {
    "django.http.request.HttpRequest": "copy what you need of it, or keep it under a key that starts with _",
    "django.http.request.QueryDict": "store value.dict()",
    "django.db.models.query.QuerySet": "store list(queryset) or the keys",
    "django.contrib.auth.models.AnonymousUser": "store it only when user.is_authenticated",
    "django.core.files": "save it and store its name",
    "_io.": "save it and store its name",
    "builtins.dict": "store dict(value)",
    "builtins.tuple": "store tuple(value) or a dataclass",
    "builtins.list": "store list(value)",
    "builtins.frozenset": "store set(value)",
}

_CONTAINERS: dict[type, Callable[[_Encoder, Any, str], Any]] = {
    list: _Encoder.list,
    tuple: _Encoder.tuple,
    set: _Encoder.set,
    dict: _Encoder.dict,
}

# datetime is a date and str may be a SafeString: subclasses stand before their bases
_SCALARS: dict[type, Callable[[Any, str], Any]] = {
    str: _text,
    int: lambda value, path: int(value),
    float: _finite,
    datetime: lambda value, path: _zoned("datetime", value),
    date: lambda value, path: {TAG: "date", "v": value.isoformat()},
    time: lambda value, path: _zoned("time", value),
    timedelta: lambda value, path: {TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]},
    Decimal: _decimal,
    UUID: lambda value, path: {TAG: "uuid", "v": str(value)},
    bytes: lambda value, path: {TAG: "bytes", "v": base64.b64encode(value).decode("ascii")},
}
