"""What encoder and decoder share: the key of a tag, and the lookup of a class by name."""

import sys
from importlib import import_module
from typing import Any

#: The key that marks a JSON object as a tagged value.
TAG = "$"


def lookup(where: str) -> Any:
    """Return the object at ``module:qualname``, or None."""
    module_name, _, qualname = where.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or import_module(module_name)
        for name in qualname.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return None
    return found
