"""The list and the dict for JSON in ``request.data``: their errors say that the client sent something else."""

from collections.abc import Iterator
from typing import Any, Self, SupportsIndex, overload

from django.utils.translation import gettext as _

from ..exceptions import MissingKey, NotAnObject


class JsonArray(list[Any]):
    """
    The ``request.data`` of a body that is a JSON array: a list. Arrays inside it are plain lists.

    A step that uses it as an object, with ``request.data.get("sku")`` or ``request.data["sku"]``, raises NotAnObject,
    which is a 400: the client sent the wrong JSON.
    """

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Any: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Any]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, str):
            raise _not_an_object()
        return super().__getitem__(index)

    def __getattr__(self, name: str) -> Any:
        if name == "getlist" or hasattr(dict, name):
            raise _not_an_object()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)


class JsonObject(dict[str, Any]):
    """
    A JSON object in ``request.data``: a dict.

    A step that reads a key that the client did not send raises MissingKey, which is a 400.
    """

    __slots__ = ()

    def __missing__(self, key: str) -> Any:
        raise missing_key(key)

    def __delitem__(self, key: str) -> None:
        self[key]  # raises MissingKey
        super().__delitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Remove *key* and return its value, as ``dict.pop()`` does. Raise MissingKey in place of KeyError."""
        return super().pop(key, *default) if default or key in self else self[key]

    def copy(self) -> Self:
        """Return a JsonObject; ``dict.copy()`` would return a dict."""
        return type(self)(self)


def walk(data: Any) -> Iterator[Any]:
    """Yield each value and key in *data*. A loop, because deep data would exceed Python's recursion limit."""
    left = [data]
    while left:
        value = left.pop()
        yield value
        if isinstance(value, dict):
            left += (*value, *value.values())
        elif isinstance(value, list):
            left += value


def missing_key(key: object) -> MissingKey:
    """Return the error for a *key* that the client did not send."""
    return MissingKey(_("missing key %(key)s") % {"key": repr(key)})


def _not_an_object() -> NotAnObject:
    return NotAnObject(_("invalid JSON: expected an object, not an array"))
