"""
The attributes that a feature may set.

Each attribute is declared here only; attribute_problems checks the values. What as_view() refuses, what counts as
misspelt, what the registry keeps and what ``numflow_features --json`` prints are derived from the annotations.
"""

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError
from inspect import get_annotations
from typing import Annotated, Any, NoReturn, TypeVar, get_args

T = TypeVar("T")

_PER_REQUEST = "per request"

#: The type of an attribute that is read at each request. All others are read once, when the feature is registered.
PerRequest = Annotated[T, _PER_REQUEST]


class FeatureAttributes:
    """The attributes of a feature, with their defaults."""

    path: str | None = None  # for feature_urls; None: from the folders
    method: str | None = None  # others get 405; None: every method is accepted
    steps: str | None = None  # dotted package; None: <folder>.steps
    async_tasks: str | None = None  # dotted package; None: <folder>.async_tasks
    decorators: Sequence[Callable[..., Any]] = ()  # for the view; outermost first
    using: str = "default"  # database alias of the transaction and of the run row
    queue: str | None = None  # RQ queue; None: NUMFLOW["QUEUE"]
    atomic: bool = True  # False: a read-only feature; its steps run in autocommit and it has no async tasks
    rollback_on_error_response: PerRequest[bool] = True  # False: a step's 4xx or 5xx response commits


class DeclaredAttributes(FeatureAttributes):
    """The attributes of one feature as they were when it was registered. They cannot be changed."""

    def __init__(self, view: type[FeatureAttributes]) -> None:
        vars(self).update({name: getattr(view, name) for name in attribute_names()})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise FrozenInstanceError(f"cannot assign to {name!r}")


def attribute_names() -> list[str]:
    """Return the names of all attributes."""
    return list(get_annotations(FeatureAttributes))


def fixed_attribute_names() -> set[str]:
    """Return the names of the attributes that are read once, when the feature is registered."""
    kinds = get_annotations(FeatureAttributes)
    return {name for name, kind in kinds.items() if _PER_REQUEST not in get_args(kind)}
