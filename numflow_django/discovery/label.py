"""Labels of features: where each one is declared, as one short name."""

import re
import sys
import unicodedata

from django.apps import apps


def package_of(module: str) -> str:
    """Return the package of *module*, in which a feature of that module has its folders."""
    # An __init__.py is in the package with its own name
    package: str | None = getattr(sys.modules.get(module), "__package__", None)
    return package or module.rpartition(".")[0] or module


def label_of(package: str) -> str:
    """
    Return the label of the feature whose folder is *package*: the app's label and the folder's path in it.

    ``shop.features.create_order`` is ``"shop.create_order"``; a package outside all apps keeps its dotted name.
    """
    package = unicodedata.normalize("NFC", package)
    config = apps.get_containing_app_config(package)
    if config is None:
        return package
    inner = package.removeprefix(config.name).strip(".")
    return f"{config.label}.{inner.removeprefix('features.')}".rstrip(".")


def label_of_class(view: type) -> str:
    """Return the label of a feature declared outside a ``feature.py``: app and class, ``"shop.create_order"``."""
    config = apps.get_containing_app_config(view.__module__)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", view.__name__).lower()
    return f"{config.label if config else package_of(view.__module__)}.{name}"
