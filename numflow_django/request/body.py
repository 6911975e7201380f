"""Parses the body of a request for ``request.data`` and refuses data that no database could store."""

import json
import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any, Self

from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.utils.datastructures import MultiValueDictKeyError
from django.utils.translation import gettext as _

from ..context.codec import MAX_DEPTH, MAX_INT_BITS
from ..context.json_data import JsonArray, JsonObject, missing_key, walk
from ..exceptions import InvalidRequestData

#: Escapes in JSON that may be a NUL or half of a pair of surrogates.
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
#: NUL, which PostgreSQL does not store, and lone surrogates, which UTF-8 cannot encode.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

#: The types of JSON arrays and objects.
_CONTAINERS = frozenset({list, JsonObject})

#: Characters that are shown of what is refused.
_SHOWN = 50


class FormData(QueryDict):
    """Form data as ``request.data``: a QueryDict, which raises MissingKey, a 400, for a field that was not sent."""

    @classmethod
    def of(cls, data: QueryDict) -> Self:
        """Return *data* as FormData. Raise InvalidRequestData if it holds a NUL."""
        form = cls(mutable=True, encoding=data.encoding)
        for key, values in data.lists():
            if any(map(_UNSTORABLE.search, (key, *values))):
                raise InvalidRequestData(_("invalid form data: %(problem)s") % {"problem": _nul()})
            form.setlist(key, values)
        form._mutable = False
        return form

    def __getitem__(self, key: str) -> Any:
        try:
            return super().__getitem__(key)
        except MultiValueDictKeyError:
            raise missing_key(key) from None


def is_json(request: HttpRequest) -> bool:
    """Return whether *request* declares that its body is JSON."""
    kind = request.content_type or ""
    return kind == "application/json" or kind.endswith("+json")


def parse(request: HttpRequest) -> Any:
    """Read the body of *request* by its content type. Raise InvalidRequestData if it cannot be read."""
    kind = request.content_type
    if is_json(request):
        return _json(request.body)
    if kind == "multipart/form-data":
        return FormData.of(_multipart(request))
    if kind == "application/x-www-form-urlencoded":
        is_parsed = request.method == "POST"
        return FormData.of(request.POST if is_parsed else QueryDict(request.body, encoding=request.encoding))
    if not request.body:
        return FormData()
    unknown = _("unsupported content type %(kind)s: send application/json or a form")
    raise InvalidRequestData(unknown % {"kind": repr(kind)}, status=415)


def checked(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *params*, the parameters of a route. Raise InvalidRequestData if one of them holds a NUL."""
    for name, value in params.items():
        if isinstance(value, str) and _UNSTORABLE.search(value):
            problem = {"name": repr(name), "problem": _nul()}
            raise InvalidRequestData(_("invalid parameter %(name)s in the URL: %(problem)s") % problem)
    return params


# JSON


def _json(body: bytes) -> Any:
    try:
        # json.loads() would decode bytes with "surrogatepass"
        text = body.decode(json.detect_encoding(body))
        data = json.loads(
            text,
            object_pairs_hook=JsonObject,
            parse_constant=_no_constant,
            parse_float=_float,
            # int is faster, and a short text cannot hold a number that is too large
            parse_int=_int if len(text) > MAX_INT_BITS // 4 else int,
        )
        _check(text, data)
    except (ValueError, RecursionError) as error:
        problem = _too_deep() if isinstance(error, RecursionError) else error
        raise InvalidRequestData(_("invalid JSON: %(problem)s") % {"problem": problem}) from error
    if not isinstance(data, dict | list):
        wrong = _("invalid JSON: expected an object or an array, not %(value)s")
        raise InvalidRequestData(wrong % {"value": json.dumps(data)[:_SHOWN]})
    return JsonArray(data) if isinstance(data, list) else data


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _too_large(text)
    return value


def _int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:  # more digits than Python reads; its message is for the developer
        raise _too_large(text) from None
    if value.bit_length() > MAX_INT_BITS:
        raise _too_large(text)
    return value


def _too_large(text: str) -> ValueError:
    return ValueError(_("the number %(number)s is too large") % {"number": text[:_SHOWN]})


def _check(text: str, data: Any) -> None:
    """Raise ValueError for what a ctx or a database cannot hold. Most texts need no walk through the values."""
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(data):
        raise ValueError(_too_deep())
    for value in walk(data) if "\\u" in text and _SUSPECT.search(text) else ():
        found = _UNSTORABLE.search(value) if isinstance(value, str) else None
        if found:
            raise ValueError(_nul() if found[0] == "\0" else _("a text holds a lone surrogate"))


def _is_too_deep(data: Any) -> bool:
    level = [data]
    for _depth in range(MAX_DEPTH):
        # Most values of a large body are not containers, and this loop takes most of the time
        parts = chain.from_iterable(value.values() if isinstance(value, dict) else value for value in level)
        level = [part for part in parts if type(part) in _CONTAINERS]
    return bool(level)


def _too_deep() -> str:
    return _("it is nested deeper than %(limit)s levels") % {"limit": MAX_DEPTH}


def _nul() -> str:
    return _("a text holds a NUL character")


def _multipart(request: HttpRequest) -> QueryDict:
    try:
        if request.method == "POST":
            return request.POST
        data, files = request.parse_file_upload(request.META, request)
    except MultiPartParserError as error:
        raise InvalidRequestData(_("invalid form data: %(problem)s") % {"problem": error}) from error
    request._post, request._files = data, files  # type: ignore[attr-defined]
    return data
