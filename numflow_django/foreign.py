"""What an author sets on a FeatureView and it would ignore: words of other frameworks, and bases in the wrong order."""

from collections.abc import Iterable, Iterator
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any

REST = (
    "derive from numflow_django.contrib.rest_framework.FeatureAPIView, which honours it, or protect the view with "
    "decorators = [...]"
)
MIXIN = "put {} before FeatureView among the bases of the class, or protect the view with decorators = [...]"

#: What to write in place of a word of Numflow, Django or Django REST Framework; by the word without "_", in lower case.
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

#: What a base is there for; one that comes too late among the bases does none of it.
PURPOSES = ("dispatch", "initialize_context", "on_error", "decorators")


def ignored_words(view: type) -> Iterator[str]:
    """The words on *view* that mean something elsewhere and that neither a base nor a method of it reads."""
    base = _feature_view(view)
    theirs = [cls for cls in view.__mro__ if base and issubclass(cls, base) and not _is_ours(cls)]
    words = {name for cls in theirs for name in vars(cls) if _plain(name) in REMEDIES}
    if getattr(view, "path", None) is not None:
        words -= {"url", "route"}  # the author knows path; this is something of their own
    if words:
        # What a mixin declares, it also reads
        words -= {name for cls in view.__mro__ if cls not in theirs for name in vars(cls)} | _read_by(view.__mro__)
    for word in sorted(words):
        yield (
            f"{word} means nothing to a FeatureView; {REMEDIES[_plain(word)]} (one that your own code reads belongs "
            "into a mixin, or begins with _)"
        )


def late_bases(view: type) -> Iterator[str]:
    """The bases of *view* that come after FeatureView, which does what they were to do."""
    known = {base for cls in view.__mro__ if _is_ours(cls) for base in cls.__mro__}
    passed_over = [name for name in PURPOSES if _is_ours(_home_of(name, view))]
    for cls in (cls for cls in view.__mro__ if cls not in known):
        names = [name for name in passed_over if name in vars(cls)]
        if names:
            ours = next(other.__name__ for other in view.__mro__ if _is_ours(other))
            yield (
                f"{cls.__name__} comes after {ours} among its bases, so that its {' and '.join(names)} would be "
                f"ignored; write class {view.__name__}({cls.__name__}, {ours})"
            )


def _home_of(name: str, view: type) -> type:
    """The class that *view* has *name* from."""
    return next((cls for cls in view.__mro__ if name in vars(cls)), object)


def _plain(name: str) -> str:
    return name.replace("_", "").lower() if name[:1] != "_" else ""


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("numflow_django.")


def _feature_view(view: type) -> type | None:
    return next((cls for cls in view.__mro__ if cls.__name__ == "FeatureView" and _is_ours(cls)), None)


def _read_by(classes: Iterable[type]) -> set[str]:
    """The names that stand in the methods of *classes*."""
    functions = [_function(value) for cls in classes if not _is_ours(cls) for value in vars(cls).values()]
    return {name for function in functions if function for name in _names(function.__code__)}


def _function(value: Any) -> FunctionType | None:
    value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    function = unwrap(value) if callable(value) else value
    return function if isinstance(function, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str):
            yield constant  # getattr(self, "name")
