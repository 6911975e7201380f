"""Finds what a FeatureView would ignore: other frameworks' attributes, and bases in the wrong order."""

from collections.abc import Iterator
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any

REST = (
    "derive from numflow_django.contrib.rest_framework.FeatureAPIView, which honours it, or protect the view with "
    "decorators = [...]"
)
MIXIN = "put {} before FeatureView in the bases of the class, or protect the view with decorators = [...]"

#: A name from Numflow, Django or Django REST Framework -> what to write instead; keys in lower case, without "_".
REMEDIES = {
    **dict.fromkeys(("middlewares", "middleware"), "write decorators = [...], the outermost first"),
    "contextinitializer": "write def initialize_context(self, ctx, request)",
    **dict.fromkeys(("url", "route"), "write path = 'api/orders/'"),
    **dict.fromkeys(
        ("permissionclasses", "authenticationclasses", "throttleclasses", "throttlescope", "checkpermissions"), REST
    ),
    "permissionrequired": "write decorators = [permission_required(..., raise_exception=True)]",
    "haspermission": MIXIN.format("PermissionRequiredMixin"),
    "testfunc": MIXIN.format("UserPassesTestMixin"),
    **{
        name.replace("_", ""): f"write decorators = [{name}]"
        for name in ("login_required", "staff_member_required", "login_not_required", "csrf_exempt", "csrf_protect")
    },
    "userpassestest": "write decorators = [user_passes_test(...)]",
}

#: What a base class may override. FeatureView has all of them, so a base after it overrides none.
OVERRIDABLE = ("dispatch", "initialize_context", "on_error", "decorators")


def ignored_attributes(view: type) -> Iterator[str]:
    """Yield a problem for each attribute of another framework that no base class or method of *view* reads."""
    base = _feature_view(view)
    views = [cls for cls in view.__mro__ if base and issubclass(cls, base) and not _is_ours(cls)]
    words = {name for cls in views for name in vars(cls) if _normal(name) in REMEDIES}
    if getattr(view, "path", None) is not None or hasattr(view, "get_context_data"):
        words -= {"url", "route"}  # path is set, or a template may read them from the view
    if any(cls.__module__.startswith("rest_framework.") for cls in view.__mro__):
        # Such as throttle_scope, which a throttle reads from the view
        words = {word for word in words if REMEDIES[_normal(word)] != REST}
    if words:
        # A mixin reads what it declares
        words -= {name for cls in view.__mro__ if cls not in views for name in vars(cls)} | _read_by(view)
    for word in sorted(words):
        yield (
            f"{word} means nothing to a FeatureView; {REMEDIES[_normal(word)]} (if your own code reads it, declare it "
            "in a mixin, or start its name with _)"
        )


def late_bases(view: type) -> Iterator[str]:
    """Yield a problem for each base of *view* whose methods are ignored because it comes after FeatureView."""
    known = {base for cls in view.__mro__ if _is_ours(cls) for base in cls.__mro__}
    from_us = [name for name in OVERRIDABLE if _is_ours(_definer_of(name, view))]
    for cls in (cls for cls in view.__mro__ if cls not in known):
        names = [name for name in from_us if name in vars(cls)]
        if names:
            ours = next(other.__name__ for other in view.__mro__ if _is_ours(other))
            yield (
                f"{cls.__name__} comes after {ours} in its bases, so its {' and '.join(names)} would be ignored; write "
                f"class {view.__name__}({cls.__name__}, {ours})"
            )


def _definer_of(name: str, view: type) -> type:
    """Return the class from which *view* gets *name*."""
    return next((cls for cls in view.__mro__ if name in vars(cls)), object)


def _normal(name: str) -> str:
    return name.replace("_", "").lower() if name[:1] != "_" else ""


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("numflow_django.")


def _feature_view(view: type) -> type | None:
    return next((cls for cls in view.__mro__ if cls.__name__ == "FeatureView" and _is_ours(cls)), None)


def _read_by(view: Any) -> set[str]:
    """Return the names that the methods and decorators of *view* use."""
    methods = [value for cls in view.__mro__ if not _is_ours(cls) for value in vars(cls).values()]
    decorators = view.decorators if isinstance(view.decorators, list | tuple) else ()
    functions = [_function(value) for value in (*methods, *decorators)]
    return {name for function in functions if function for name in _names(function.__code__)}


def _function(value: Any) -> FunctionType | None:
    for name in ("__func__", "fget", "func"):  # of a classmethod, a property, a cached_property or a partial
        value = getattr(value, name, None) or value
    function = unwrap(value) if callable(value) else value
    return function if isinstance(function, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str):
            yield constant  # getattr(self, "name")
