"""Encodes Python values as tagged JSON. Each error names the place and says what to store instead."""

import base64
import dataclasses
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Model
from django.utils.functional import LazyObject, Promise
from django.utils.safestring import SafeString

from ...exceptions import ContextValueError
from ..json_data import JsonArray, JsonObject
from .refusals import refusal, with_article
from .tags import TAG, lookup

#: The most levels of nested containers: far more than data needs, far less than Python's recursion limit.
MAX_DEPTH = 100
#: The most bits of an int. Python refuses to write or read more than 4,300 decimal digits, which is 14,284 bits.
MAX_INT_BITS = 14_000

#: Modules whose datetime and date replace the real ones in a test; their instances are stored as the real types.
STAND_INS = frozenset({"freezegun.api"})


def encode(value: Any, path: str, *, keep_deleted: bool = False) -> Any:
    """
    Return *value* as a tree of plain JSON values.

    With *keep_deleted*, a model instance that was decoded and then deleted is stored as the same reference again.
    Raise ContextValueError, naming the place under *path*, if a value cannot be stored.
    """
    return _Encoder(keep_deleted).encode(value, path)


class _Encoder:
    def __init__(self, keep_deleted: bool) -> None:
        self.keep_deleted = keep_deleted
        self.parents: list[int] = []

    def encode(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return _integer(value, path)
        if kind is str:
            return _text(value, path)
        if kind is float:
            return _finite(value, path)
        if kind in _CONTAINERS:
            return self._container(value, path)
        return self._tagged(value, path)

    def _container(self, value: Any, path: str) -> Any:
        if id(value) in self.parents:
            raise ContextValueError(
                f"{path} is {with_article(type(value))} that contains itself; store it without the cycle"
            )
        if len(self.parents) >= MAX_DEPTH:
            raise ContextValueError(
                f"{path} is {with_article(type(value))} nested deeper than {MAX_DEPTH} levels; store it flatter"
            )
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
        # Sort: in every process, an unchanged set must freeze to the same text
        return {TAG: "set", "v": sorted((self.encode(item, f"{path}{{...}}") for item in value), key=repr)}

    def dict(self, value: dict[Any, Any], path: str) -> Any:
        encoded = {_key(key, path): self.encode(item, f"{path}[{key!r}]") for key, item in value.items()}
        return {TAG: "dict", "v": encoded} if TAG in encoded else encoded

    def _tagged(self, value: Any, path: str) -> Any:
        encode = _SCALARS.get(type(value))
        if encode is not None:
            return encode(value, path)
        if isinstance(value, Promise | LazyObject):
            return self.encode(_unwrapped(value), path)
        if isinstance(value, Enum):
            return self._enum(value, path)
        if isinstance(value, Model):
            return self._model(value, path)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._container(value, path)
        if type(value).__module__ in STAND_INS:
            return _as_base(value, path)
        raise refusal(value, path)

    def _enum(self, value: Enum, path: str) -> Any:
        where = _importable(type(value), path)
        if isinstance(value, Flag):
            return {TAG: "flag", "t": where, "v": self.encode(value.value, path)}
        return {TAG: "enum", "t": where, "v": value.name}

    def dataclass(self, value: Any, path: str) -> Any:
        cls = type(value)
        try:
            object.__new__(cls)  # as decode does; fails for an exception or a dict, which has more state
        except TypeError:
            raise refusal(value, path) from None
        encoded = {name: self.encode(getattr(value, name), f"{path}.{name}") for name in _attributes(value)}
        return {TAG: "dataclass", "t": _importable(cls, path), "v": encoded}

    def _model(self, value: Model, path: str) -> Any:
        label = value._meta.label
        if value.pk is None and not value._state.adding:
            reference = getattr(value._state, "numflow_reference", None)
            if reference is not None and self.keep_deleted:
                return reference
            raise ContextValueError(
                f"{path} is a {label} that has been deleted; store what you need of it as plain values"
            )
        if value.pk is None or value._state.adding:
            raise ContextValueError(f"{path} is an unsaved {label}; save it before the last step ends")
        return {TAG: "model", "m": label, "pk": self._primary_key(value.pk, f"{path}.pk"), "db": value._state.db}

    def _primary_key(self, key: Any, path: str) -> Any:
        """Return the JSON of a primary key; for an instance of a custom class, of what the database stores."""
        if isinstance(key, tuple):  # of a CompositePrimaryKey
            return {TAG: "tuple", "v": [self._primary_key(part, path) for part in key]}
        if isinstance(key, Enum) or not isinstance(key, tuple(_SCALARS)):
            return self.encode(key, path)
        return _as_base(key, path)


def _attributes(value: Any) -> Iterator[str]:
    """Yield the names of the values that a dataclass instance itself holds."""
    fields = [field.name for field in dataclasses.fields(value)]
    yield from (name for name in fields if hasattr(value, name))
    # Also the attributes that __post_init__ has set; but no cached_property, which is computed again, and not the
    # __orig_class__ that Python sets on a Page[int](...)
    yield from (
        name
        for name in getattr(value, "__dict__", ())
        if name not in fields and not hasattr(type(value), name) and not name.startswith("__")
    )


def _as_base(value: Any, path: str) -> Any:
    """Encode an instance of a subclass as its base class that can be stored."""
    return next(encode(value, path) for base, encode in _SCALARS.items() if isinstance(value, base))


def _text(value: str, path: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ContextValueError(
            f"{path} is a str with a lone surrogate, which is not valid Unicode; store value.encode(errors='replace')"
            ".decode()"
        ) from None
    return str.__str__(value)  # a SafeString's own str() is a SafeString


def _integer(value: int, path: str) -> int:
    if value.bit_length() > MAX_INT_BITS:
        raise ContextValueError(
            f"{path} is an int of {value.bit_length():,} bits, which JSON cannot represent; use hex(value)"
        )
    return int(value)


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise ContextValueError(f"{path} is {float(value)}, which JSON cannot represent; use None or a str")
    return float(value)


def _key(key: Any, path: str) -> str:
    if type(key) not in {str, SafeString}:
        raise ContextValueError(f"{path} is a dict with the key {key!r}, {with_article(type(key))}; keys must be str")
    return _text(key, f"the key {key!r} of {path}")


def _decimal(value: Decimal, path: str) -> Any:
    if value.is_nan():
        raise ContextValueError(f"{path} is Decimal('{value}'), which equals nothing; use None")
    return {TAG: "decimal", "v": str(value)}


def _zoned(tag: str, value: datetime | time) -> Any:
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return {TAG: tag, "v": value.isoformat()} | ({"tz": zone} if zone else {})


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Promise):
        return str(value)
    bool(value)  # any use makes a LazyObject load its object
    return value._wrapped


def _importable(cls: type, path: str) -> str:
    """Return *cls* as ``module:qualname``. Raise ContextValueError if a worker cannot import it from there."""
    where = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__" or "<locals>" in where or lookup(where) is not cls:
        raise ContextValueError(f"{path} is a {where}, which a worker cannot import; define it at a module's top level")
    return where


_CONTAINERS: dict[type, Callable[[_Encoder, Any, str], Any]] = {
    list: _Encoder.list,
    JsonArray: _Encoder.list,  # request.data: tasks read it as a plain list or dict
    tuple: _Encoder.tuple,
    set: _Encoder.set,
    dict: _Encoder.dict,
    JsonObject: _Encoder.dict,
}

# A datetime is a date, and a SafeString a str: subclasses come before their bases
_SCALARS: dict[type, Callable[[Any, str], Any]] = {
    SafeString: lambda value, path: {TAG: "safe", "v": _text(value, path)},
    str: _text,
    int: _integer,
    float: _finite,
    datetime: lambda value, path: _zoned("datetime", value),
    date: lambda value, path: {TAG: "date", "v": value.isoformat()},
    time: lambda value, path: _zoned("time", value),
    timedelta: lambda value, path: {TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]},
    Decimal: _decimal,
    UUID: lambda value, path: {TAG: "uuid", "v": str(value)},
    bytes: lambda value, path: {TAG: "bytes", "v": base64.b64encode(value).decode("ascii")},
}
