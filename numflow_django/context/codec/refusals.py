"""The errors for values that a context cannot hold, with what to store instead."""

from typing import Any

from ...exceptions import ContextValueError


def refusal(value: Any, path: str) -> ContextValueError:
    """Return the error for *value*, at *path*."""
    advice = "store plain values, a model instance or a dataclass"
    for base, hint in _HINTS.items():
        if any(_is_named(cls, base) for cls in type(value).__mro__):
            advice = hint
            break
    kind = with_article(type(value))
    return ContextValueError(f"{path} is {kind}, which cannot be stored for the async tasks; {advice}")


def _is_named(cls: type, name: str) -> bool:
    """Return whether *cls* is called *name* or, if *name* ends with a dot, is in that package."""
    full = f"{cls.__module__}.{cls.__qualname__}"
    return full == name or (name.endswith(".") and full.startswith(name))


def with_article(cls: type) -> str:
    """Return the name of *cls* with its article, for messages."""
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


_HINTS = {
    "django.http.request.HttpRequest": "copy what you need of it, or keep it under a key that starts with _",
    "django.http.request.QueryDict": "store value.dict()",
    "django.db.models.query.QuerySet": "store list(queryset) or the keys",
    "django.contrib.auth.models.AnonymousUser": "store it only when user.is_authenticated",
    "django.forms.": "store what the tasks need of its cleaned_data",
    "rest_framework.request.": "copy what you need of it, or keep it under a key that starts with _",
    "rest_framework.serializers.": "store what the tasks need of its validated_data",
    "django.core.files.": "save it and store its name",
    "_io.": "save it and store its name",
    "tempfile.": "save it and store its name",
    "builtins.BaseException": "store str(error)",
    "builtins.dict": "store dict(value)",
    "builtins.tuple": "store tuple(value) or a dataclass",
    "builtins.list": "store list(value)",
    "builtins.set": "store set(value)",
    "builtins.frozenset": "store set(value)",
    "builtins.bytearray": "store bytes(value)",
    "builtins.memoryview": "store bytes(value)",
    "builtins.dict_keys": "store list(value)",
    "builtins.dict_values": "store list(value)",
    "builtins.dict_items": "store dict(value)",
    "builtins.generator": "store list(value)",
    "builtins.range": "store list(value)",
    "collections.deque": "store list(value)",
    # Subclasses of types that can be stored
    "django.utils.safestring.SafeString": "store SafeString(value)",
    "markupsafe.Markup": "store SafeString(value)",
    "builtins.str": "store str(value)",
    "builtins.bytes": "store bytes(value)",
    "builtins.int": "store int(value)",
    "builtins.float": "store float(value)",
    "decimal.Decimal": "store Decimal(value)",
    "uuid.UUID": "store UUID(int=value.int)",
    "datetime.datetime": "store datetime.combine(value.date(), value.timetz())",
    "datetime.date": "store date.fromordinal(value.toordinal())",
    "datetime.time": "store time.fromisoformat(value.isoformat())",
    "datetime.timedelta": "store timedelta(value.days, value.seconds, value.microseconds)",
}
