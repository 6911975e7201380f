"""Turns the names of folders into a route in Django's syntax."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from django.urls.converters import get_converters

from ..conf import conf
from ..text.suggestions import one_of

#: A folder that is a route parameter: [order_id], [order_id=int].
PARAMETER = re.compile(r"\[(?P<name>[^\W\d]\w*)(?:=(?P<converter>\w+))?\]")

#: A parameter in Django's syntax.
TYPED = re.compile(r"<(?:(?P<converter>\w+):)?(?P<name>\w+)>")

#: Characters that a folder's name has only if a parameter was meant, in our syntax or another framework's.
BRACKETS = re.compile(r"[\[\]<>{}]|^:")

#: Parameters in the syntax of regular expressions, of folders, and of other frameworks.
FOREIGN = tuple(
    re.compile(pattern)
    for pattern in (
        r"\(\?P<(?P<name>\w+)>(?P<kind>(?:[^()]|\([^()]*\))*)\)",  # (?P<id>[0-9]+)
        r"\[+(?P<kind>\.\.\.)?(?P<name>\w+)\]+",  # [id], [...slug]
        r"\[(?P<name>\w+)[=:](?P<kind>\w+)\]",  # [id=int]
        r"\{(?P<kind>\*)?(?P<name>\w+)\}",  # {id}, {*slug}
        r"\{(?P<name>\w+):(?P<kind>\w+)\}",  # {id:int}
        r"(?<![^/]):(?P<name>\w+)(?:\((?P<kind>[^()]*)\))?\??",  # :id, :id(\d+), :id?
    )
)

#: Django's converters, by their names in other syntaxes and by what those write instead.
CONVERTERS = {
    **dict.fromkeys(("number", "integer", r"\d+", "[0-9]+", r"[0-9]*", "[1-9][0-9]*"), "int"),
    **dict.fromkeys((r"[\w-]+", r"[-\w]+", "[-a-zA-Z0-9_]+", "[a-z0-9-]+"), "slug"),
    **dict.fromkeys(("...", "*", ".*", ".+"), "path"),
}

#: What a route in Django's syntax never contains outside its parameters.
NOT_IN_A_ROUTE = re.compile(r"[\[\]<>{}?#\\]|^\^|\$$|(?<![^/]):\w|(?<![^/])\*+(?![^/])|%[0-9A-Fa-f]{2}")

#: How much a parameter matches, by its converter: a narrow one is tried first. Custom converters are narrow.
WIDTHS = {"int": 1, "uuid": 1, "slug": 2, "str": 3, "path": 4}

#: Django's other arguments to a view; a route parameter with one of these names is a TypeError at every request.
TAKEN = frozenset({"self", "request"})


def segment_of(name: str) -> str | None:
    """Return the part of a route for a folder called *name*; None: its name is not a valid parameter."""
    name = unicodedata.normalize("NFC", name)
    match = PARAMETER.fullmatch(name)
    if match:
        return f"<{match['converter'] or 'str'}:{match['name']}>"
    return None if BRACKETS.search(name) else name


def joined(segments: Iterable[str]) -> str:
    """Return the route of *segments*, with a final slash if APPEND_SLASH is on."""
    path = normal("/".join(segments))
    return f"{path}/" if path and conf.append_slash else path


def meant_parameter(name: str) -> str:
    """Return what a folder's name that is not a valid parameter was meant to be, for the message."""
    words = re.findall(r"\b[^\W\d]\w*", unicodedata.normalize("NFC", name))
    converters = [word for word in words if word in get_converters()][: len(words) - 1]  # [slug] has a name only
    names = [word for word in words if word not in converters]
    if len(names) != 1 or len(converters) > 1 or re.search(r"\w[^\w:=]+\w", name):
        return "write [order_id] or [order_id=int]"
    converter = "path" if "..." in name else next(iter(converters), None)
    return f"did you mean [{names[0]}{f'={converter}' if converter else ''}]?"


def normal(route: str) -> str:
    """Return *route* in the form for comparison: NFC, with each parameter's converter, without a leading slash."""
    route = unicodedata.normalize("NFC", route).lstrip("/")
    return TYPED.sub(lambda match: f"<{match['converter'] or 'str'}:{match['name']}>", route)


def shape_of(route: str) -> str:
    """Return *route* without its parameters' names: ``[id]`` and ``[pk]`` are the same place."""
    return TYPED.sub(lambda match: f"<{match['converter'] or 'str'}>", route)


def untyped(route: str) -> str:
    """Return *route* without its parameters' converters: ``[id]`` and ``[id=int]`` were meant to be the same."""
    return TYPED.sub(lambda match: f"<{match['name']}>", route)


def parameters_of(route: str) -> list[str]:
    """Return the names of the parameters of *route*, from the left."""
    return [match["name"] for match in TYPED.finditer(route)]


def precedence(route: str) -> list[tuple[int, str]]:
    """Return the sort key of *route*: at each depth, static before parameters, narrow parameters before wide."""
    return [(_width(segment), segment) for segment in route.split("/")]


def _width(segment: str) -> int:
    parameter = TYPED.fullmatch(segment)
    return WIDTHS.get(parameter["converter"], 1) if parameter else int("<" in segment)


def problem_in(path: str) -> str | None:
    """Return what is wrong with the syntax of *path*, to follow it in a message; None if nothing is."""
    if "(?P<" not in path and not _foreign_part(path):
        return None
    meant = re.sub(r"/\?$", "/", path.removeprefix("^").removesuffix("$"))
    for syntax in FOREIGN:
        meant = syntax.sub(_in_django, meant)
    meant = unquote(re.split("[?#]", meant)[0])
    if _foreign_part(meant):
        return "is not in Django's syntax, so that no URL matches it; write a parameter as in 'api/orders/<int:id>/'"
    why = (
        "contains '?' or '#', which no path of a URL can contain"
        if _is_cut(path, meant)
        else "is not in Django's syntax"
    )
    return f"{why}; write path = {meant!r}"


def _foreign_part(path: str) -> bool:
    # A letter in the place of each parameter: in orders/<int:id>:cancel/ the colon begins no segment
    return bool(NOT_IN_A_ROUTE.search(re.sub("<[^<>]*>", "x", path)))


def _is_cut(path: str, meant: str) -> bool:
    return path.startswith(meant) and path[len(meant) :][:1] in ("?", "#")


def _in_django(match: re.Match[str]) -> str:
    """Return a parameter of another syntax in Django's syntax."""
    name, kind = match["name"], match["kind"] or "str"
    known = get_converters()
    if name in known and kind not in known and kind.isidentifier():
        name, kind = kind, name  # {int:id}
    return f"<{CONVERTERS.get(kind, kind if kind in known else 'str')}:{name}>"


def problems_of(route: str) -> Iterator[str]:
    """Yield each problem in the parameters of *route*: an unknown converter, a repeated or reserved name."""
    names = parameters_of(route)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"it has the parameter {name!r} twice; rename one of them"
    for name in sorted(TAKEN.intersection(names)):
        yield f"it has the parameter {name!r}, which Django itself hands to every view; rename it, such as {name}_id"
    known = get_converters()
    for match in TYPED.finditer(route):
        if match["converter"] and match["converter"] not in known:
            swapped = f"did you mean <{match['name']}:{match['converter']}>?" if match["name"] in known else ""
            yield f"{match['converter']!r} is not a path converter; {swapped or one_of(match['converter'], known)}"
