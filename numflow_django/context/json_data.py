"""JSON arrays and objects as ``request.data``: a list and a dict that know when the client sent something else."""

from collections.abc import Iterator
from typing import Any, Self, SupportsIndex, overload

from django.utils.translation import gettext as _

from ..exceptions import MissingKey, NotAnObject


class JsonArray(list[Any]):
    """
    The ``request.data`` of a body that is a JSON array: a list. Arrays inside it are plain lists.

    A step that takes it for an object, with ``request.data.get("sku")`` or ``request.data["sku"]``, raises
    NotAnObject, a 400: it is the client that sent the wrong thing.
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

    A step that takes a key that the client did not send raises MissingKey, a 400.
    """

    __slots__ = ()

    def __missing__(self, key: str) -> Any:
        raise missing_key(key)

    def __delitem__(self, key: str) -> None:
        self[key]  # raises MissingKey
        super().__delitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """As ``dict.pop()``, with MissingKey for KeyError."""
        return super().pop(key, *default) if default or key in self else self[key]

    def copy(self) -> Self:
        """Return a JsonObject, where ``dict.copy()`` would return a dict."""
        return type(self)(self)


def walk(data: Any) -> Iterator[Any]:
    """Yield each value and key in *data*. A loop, because a recursion may not get to the end."""
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
