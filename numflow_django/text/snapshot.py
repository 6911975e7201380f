"""
Takes snapshots of values, to compare and to show them.

It runs no code of a value's class: neither ``__repr__`` nor ``__eq__``. It makes no query and evaluates no lazy object.
"""

import dataclasses
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from django.core.files.base import File
from django.db.models import Manager, Model, QuerySet
from django.utils.datastructures import MultiValueDict
from django.utils.functional import LazyObject, empty

from .redaction import MASK, is_secret, plain, scrub

#: The most values in one snapshot. The rest are only counted.
MAX_PARTS = 2_000
#: The most levels of nested containers.
MAX_DEPTH = 20

#: The most items of a container, characters of a text, and characters of a whole value that are shown.
SHOWN_ITEMS = 20
SHOWN_TEXT = 120
SHOWN_LENGTH = 400

#: ("scalar", text), ("text", str), ("bytes", bytes), ("object", Identity) or
#: ("group", opening, ((key or None, snapshot), ...), closing, how many items are left out)
Snapshot = tuple[Any, ...]


class Identity:
    """An object that is compared by identity. We keep it, so that no other object gets its place in memory."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<object {id(self.value)}>"  # the members of a set are sorted by it


def snapshot_of(value: Any) -> Snapshot:
    """Return the snapshot of *value*. Never raise."""
    try:
        return _Snapshots().of(value)
    except Exception as error:  # noqa: BLE001 - a strange value may raise anything, and the request must go on
        return "scalar", f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"


def show(snapshot: Snapshot, key: object = None) -> str:
    """Return *snapshot* as one line of limited length, with secrets masked; all of it if *key* is secret."""
    text = MASK if is_secret(key) else _text(snapshot)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]} ..."


class _Snapshots:
    """Takes the snapshots of one value and its parts."""

    def __init__(self) -> None:
        self.parts = 0
        self.parents: list[int] = []

    def of(self, value: Any) -> Snapshot:
        self.parts += 1
        # Not isinstance(), which makes a lazy object load its object
        for base, take in _KINDS.items():
            if issubclass(type(value), base):
                snapshot: Snapshot = take(self, value)
                return snapshot
        if dataclasses.is_dataclass(type(value)):
            return self._dataclass(value)
        return "object", Identity(value)

    def group(self, value: Any, opening: str, items: Iterable[tuple[Any, Any]], closing: str, count: int) -> Snapshot:
        if id(value) in self.parents or len(self.parents) >= MAX_DEPTH:
            return "group", opening, (), closing, count
        self.parents.append(id(value))
        shown = []
        for key, item in items:
            if self.parts >= MAX_PARTS:
                break
            shown.append((key, self.of(item)))
        self.parents.pop()
        return "group", opening, tuple(shown), closing, count - len(shown)

    def list(self, value: Any, brackets: str = "[]") -> Snapshot:
        items = list.__iter__(value) if issubclass(type(value), list) else iter(value)
        return self.group(value, brackets[0], ((None, item) for item in items), brackets[1], len(value))

    def tuple(self, value: Any) -> Snapshot:
        return self.list(tuple.__add__(value, ()), "()")

    def set(self, value: Any) -> Snapshot:
        kind, opening, items, closing, left_out = self.list([*frozenset.__iter__(frozenset(value))], "{}")
        # Sort: an equal set that was built again must look the same
        return kind, opening, tuple(sorted(items, key=repr)), closing, left_out

    def dict(self, value: Any) -> Snapshot:
        items = [(_key(key), item) for key, item in dict.items(value)]
        return self.group(value, "{", items, "}", len(items))

    def form(self, value: Any) -> Snapshot:
        items = [(_key(key), found[0] if len(found) == 1 else found) for key, found in dict.items(value)]
        return self.group(value, "{", items, "}", len(items))

    def model(self, value: Any) -> Snapshot:
        # Only the loaded fields: a deferred field would need a query, and a related object has a row of its own
        fields = [(name, item) for name, item in vars(value).items() if not name.startswith("_")]
        return self.group(value, f"{type(value).__name__}(", fields, ")", len(fields))

    def _dataclass(self, value: Any) -> Snapshot:
        names = [field.name for field in dataclasses.fields(value)]
        fields = [(name, object.__getattribute__(value, name)) for name in names]
        return self.group(value, f"{type(value).__name__}(", fields, ")", len(fields))

    def lazy(self, value: Any) -> Snapshot:
        wrapped = vars(value)["_wrapped"]
        return ("scalar", "<lazy, not used yet>") if wrapped is empty else self.of(wrapped)


def _key(key: Any) -> str:
    """Return a dict's key as text, to show it and to look for secrets."""
    if type(key) is str:
        return key
    return repr(key) if type(key) in {int, *_PLAIN} else f"<{type(key).__name__}>"


def _text(snapshot: Snapshot) -> str:
    kind, *facts = snapshot
    if kind == "text":
        return repr(scrub(facts[0], SHOWN_TEXT))
    if kind == "bytes":
        return f"<{len(facts[0]):,} bytes>"
    if kind == "object":
        return _name(facts[0].value)
    return _group_text(*facts) if kind == "group" else str(facts[0])


def _group_text(opening: str, items: tuple[tuple[Any, Snapshot], ...], closing: str, left_out: int) -> str:
    sign = "=" if opening.endswith("(") else ": "
    shown = [_item_text(key, item, sign) for key, item in items[:SHOWN_ITEMS]]
    left_out += len(items) - len(shown)
    return f"{opening}{', '.join([*shown, f'... {left_out:,} more'] if left_out else shown)}{closing}"


def _item_text(key: str | None, item: Snapshot, sign: str) -> str:
    if key is None:
        return _text(item)
    name = plain(key, 60) if sign == "=" else repr(plain(key, 60))
    return f"{name}{sign}{MASK if is_secret(key) else _text(item)}"


def _name(value: Any) -> str:
    kind = type(value)
    if issubclass(kind, QuerySet | Manager):
        return f"<{kind.__name__} of {value.model.__name__}>"
    if issubclass(kind, File):
        return f"<{kind.__name__} {plain(value.name, 60)!r}>"
    return f"<{kind.__name__}>"


def _plainly(base: type) -> Any:
    """Return a function that shows a value with the ``__repr__`` of *base*, not with that of its subclass."""
    shown: Any = base.__repr__
    return lambda snapshots, value: ("scalar", shown(value))


_PLAIN = (type(None), bool, float, complex, Decimal, UUID, datetime, date, time, timedelta)

# An Enum may be a str, a bool is an int and a QueryDict is a dict: subclasses come before their bases
_KINDS: dict[type, Any] = {
    LazyObject: _Snapshots.lazy,
    Model: _Snapshots.model,
    Enum: lambda snapshots, value: ("scalar", f"{type(value).__name__}.{value._name_}"),
    str: lambda snapshots, value: ("text", str.__str__(value)),
    bytes: lambda snapshots, value: ("bytes", value),
    **{base: _plainly(base) for base in _PLAIN},
    int: lambda snapshots, value: ("scalar", int.__repr__(value) if value.bit_length() < 1_000 else hex(value)),
    MultiValueDict: _Snapshots.form,
    dict: _Snapshots.dict,
    list: _Snapshots.list,
    tuple: _Snapshots.tuple,
    set: _Snapshots.set,
    frozenset: _Snapshots.set,
}
