"""A JSON array as ``request.data``: a list that knows when it was taken for an object."""

from typing import Any, SupportsIndex, overload

from django.utils.translation import gettext as _

from .exceptions import NotAnObject


class JsonArray(list[Any]):
    """
    The ``request.data`` of a body that is a JSON array: a list.

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


def _not_an_object() -> NotAnObject:
    return NotAnObject(_("invalid JSON: expected an object, not an array"))
