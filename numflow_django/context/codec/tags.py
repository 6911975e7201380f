"""What the two directions share: the tag's key, and the finding of classes by name."""

import sys
from importlib import import_module
from typing import Any

#: The key that marks an object of the JSON as a tagged value.
TAG = "$"


def lookup(where: str) -> Any:
    """The object at ``module:qualname``, or None."""
    module_name, _, qualname = where.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or import_module(module_name)
        for name in qualname.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return None
    return found
