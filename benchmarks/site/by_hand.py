"""What somebody writes who has no FeatureView: one function that calls the ten steps in one atomic block."""

import pkgutil
from importlib import import_module
from types import SimpleNamespace

from django.db import transaction


def ten_calls(package):
    """Give a view that calls the functions of the modules of *package*."""
    folder = import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    one, two, three, four, five, six, seven, eight, nine, ten = (
        getattr(import_module(f"{package}.{name}"), name.partition("_")[2]) for name in names
    )

    def view(request):
        ctx = SimpleNamespace()
        with transaction.atomic():
            one(ctx)
            two(ctx)
            three(ctx)
            four(ctx)
            five(ctx)
            six(ctx)
            seven(ctx)
            eight(ctx)
            nine(ctx)
            return ten(ctx)

    return view
