"""Django's system checks of this package. Importing it registers them."""

from . import databases, features, settings, versions, workers

__all__ = ["databases", "features", "settings", "versions", "workers"]
