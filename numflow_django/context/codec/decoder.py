"""Decodes tagged JSON to Python values; reads model instances with one query for each model and database."""

import base64
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import CompositePrimaryKey, Model, QuerySet
from django.utils.connection import ConnectionDoesNotExist
from django.utils.safestring import SafeString

from ...exceptions import ContextCorrupt, ContextInstanceGone
from .tags import TAG, lookup

Instances = dict[tuple[str, str], dict[Any, Model]]


def decode(tree: Any, path: str, instances: Instances | None = None) -> Any:
    """
    Return the value of *tree*, which :func:`encode` returned.

    *instances* are its model instances; without them, they are read now. Raise ContextInstanceGone, naming *path*, if
    a row no longer exists, and ContextCorrupt if a class has moved.
    """
    return _Decoder(path, fetch_instances(tree, path) if instances is None else instances).decode(tree)


def references(tree: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every reference to a model instance in *tree*."""
    if isinstance(tree, dict):
        if tree.get(TAG) == "model":
            yield tree
        # The keys in there are the user's: a dict that looks like a reference is not one
        tree = [*(tree["v"] if tree.get(TAG) in {"dict", "dataclass"} else tree).values()]
    if isinstance(tree, list):
        for item in tree:
            yield from references(item)


def fetch_instances(tree: Any, path: str) -> Instances:
    """Return the model instances that *tree* refers to, by (label, database) and key."""
    wanted: dict[tuple[str, str], list[Any]] = {}
    decoder = _Decoder(path, {})
    for reference in references(tree):
        wanted.setdefault((reference["m"], reference["db"]), []).append(decoder.decode(reference["pk"]))
    return {source: _fetch(*source, keys, path) for source, keys in wanted.items()}


def _fetch(label: str, database: str, keys: list[Any], path: str) -> dict[Any, Model]:
    try:
        model = apps.get_model(label)
    except LookupError:
        raise ContextCorrupt(f"{path} refers to the model {label}, which is not installed (any more)") from None
    given = {key: _to_python(model, key, path) for key in keys}
    try:
        # The base manager: a default manager may hide archived rows, and this row was in use when it was stored
        return _matched(given, model._base_manager.using(database))
    except ConnectionDoesNotExist:
        raise ContextCorrupt(f"{path} refers to the database {database!r}, which is not in DATABASES") from None


def _to_python(model: type[Model], key: Any, path: str) -> Any:
    """Return *key* in the type that the rows of *model* have: a UUID for its text."""
    field: Any = model._meta.pk
    try:
        if isinstance(field, CompositePrimaryKey):
            parts: Any = field.fields
            return tuple(part.to_python(value) for part, value in zip(parts, key, strict=True))
        return field.to_python(key)
    except (ValidationError, ValueError, TypeError):
        raise ContextCorrupt(f"{path}: {model._meta.label} cannot have the primary key {key!r} (any more)") from None


def _matched(given: dict[Any, Any], rows: QuerySet[Any]) -> dict[Any, Model]:
    """Return the rows by their *given* keys; the values of *given* are those keys in the field's own type."""
    found = rows.in_bulk([*given.values()])
    for key in given.values() if found else ():
        # For some collations "a" equals "A"; only the database knows which row is meant
        if key not in found and (row := rows.filter(pk=key).first()):
            found[key] = row
    return {key: found[wanted] for key, wanted in given.items() if wanted in found}


class _Decoder:
    def __init__(self, path: str, instances: Instances) -> None:
        self.path = path
        self.instances = instances

    def decode(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.decode(item) for item in tree]
        if isinstance(tree, dict):
            return self._tagged(tree) if TAG in tree else {key: self.decode(item) for key, item in tree.items()}
        return tree

    def _tagged(self, tree: dict[str, Any]) -> Any:
        tag = tree[TAG]
        if tag in _PLAIN:
            return self._plain(tree)
        if tag in _NESTED:
            return _NESTED[tag](self, tree["v"])
        if tag in _OBJECTS:
            return _OBJECTS[tag](self, tree)
        raise ContextCorrupt(f"{self.path} contains a {tag!r}, which this version of numflow_django does not know")

    def _plain(self, tree: dict[str, Any]) -> Any:
        try:
            return _PLAIN[tree[TAG]](tree)
        except ZoneInfoNotFoundError as error:
            raise ContextCorrupt(f"{self.path}: {error.args[0]}; install tzdata on the worker") from None

    def model(self, tree: dict[str, Any]) -> Model:
        key = self.decode(tree["pk"])
        found = self.instances[tree["m"], tree["db"]].get(key)
        if found is None:
            raise ContextInstanceGone(
                f"{self.path}: {tree['m']} with primary key {key!r} no longer exists in the database {tree['db']!r}"
            )
        found._state.numflow_reference = tree  # type: ignore[attr-defined]  # for encode, if a task deletes it
        return found

    def enum(self, tree: dict[str, Any]) -> Any:
        cls = self._class(tree["t"], Enum)
        try:
            return cls[tree["v"]] if tree[TAG] == "enum" else cls(self.decode(tree["v"]))  # type: ignore[index]
        except (KeyError, ValueError):
            raise ContextCorrupt(f"{self.path}: {tree['t']} has no member {tree['v']!r} (any more)") from None

    def dataclass(self, tree: dict[str, Any]) -> Any:
        cls = self._class(tree["t"], object)
        if not dataclasses.is_dataclass(cls):
            raise ContextCorrupt(f"{self.path}: {tree['t']} is not a dataclass (any more)")
        # Call neither __init__ nor __post_init__: restore the object as it was, even if its class is frozen
        thawed = object.__new__(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name, item in tree["v"].items():
            if name in fields or hasattr(thawed, "__dict__"):  # a class with slots may no longer have the field
                object.__setattr__(thawed, name, self.decode(item))
        for name in fields.keys() - tree["v"].keys():
            self._fill(thawed, fields[name], tree["t"])
        return thawed

    def _fill(self, thawed: Any, field: "dataclasses.Field[Any]", where: str) -> None:
        """Set a field of *thawed* that the class did not have when the object was stored."""
        if field.default is not dataclasses.MISSING:
            object.__setattr__(thawed, field.name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(thawed, field.name, field.default_factory())
        elif field.init:  # without init, it may have been unset
            raise ContextCorrupt(f"{self.path}: {where} now has the field {field.name!r}; give it a default")

    def _class(self, where: str, base: type) -> type:
        cls = lookup(where)
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise ContextCorrupt(f"{self.path}: the class {where} cannot be found (any more)")
        return cls


def _datetime(tree: dict[str, Any]) -> datetime:
    value = datetime.fromisoformat(tree["v"])
    if "tz" not in tree:
        return value
    zone = ZoneInfo(tree["tz"])
    # When clocks go back, one local time occurs twice: only the offset says which one it was
    for fold in (0, 1):
        local = value.replace(tzinfo=zone, fold=fold)
        if local.utcoffset() == value.utcoffset():
            return local
    return value.astimezone(zone)  # the zone's rules have changed since


def _time(tree: dict[str, Any]) -> time:
    value = time.fromisoformat(tree["v"])
    zone: tzinfo | None = ZoneInfo(tree["tz"]) if "tz" in tree else value.tzinfo
    return value.replace(tzinfo=zone)


_PLAIN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "datetime": _datetime,
    "date": lambda tree: date.fromisoformat(tree["v"]),
    "time": _time,
    "timedelta": lambda tree: timedelta(*tree["v"]),
    "decimal": lambda tree: Decimal(tree["v"]),
    "uuid": lambda tree: UUID(tree["v"]),
    "bytes": lambda tree: base64.b64decode(tree["v"]),
    "safe": lambda tree: SafeString(tree["v"]),
}
_OBJECTS: dict[str, Callable[[_Decoder, dict[str, Any]], Any]] = {
    "model": _Decoder.model,
    "enum": _Decoder.enum,
    "flag": _Decoder.enum,
    "dataclass": _Decoder.dataclass,
}
_NESTED: dict[str, Callable[[_Decoder, Any], Any]] = {
    "dict": lambda decoder, value: {key: decoder.decode(item) for key, item in value.items()},
    "tuple": lambda decoder, value: tuple(decoder.decode(value)),
    "set": lambda decoder, value: set(decoder.decode(value)),
}
