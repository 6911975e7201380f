"""Django's system checks of this package. Importing it registers them."""

from . import databases, features, versions

__all__ = ["databases", "features", "versions"]
