"""
One start of a process with many features; prints its seconds.

``python -m benchmarks.site.startup features|imports PACKAGE``: what ``feature_urls(PACKAGE)`` takes, or the imports of
the same modules and nothing else.
"""

import sys
import time
from importlib import import_module
from pathlib import Path

import django


def main(what, package):
    """Measure one of the two; Django is set up before."""
    django.setup()
    from numflow_django import FeatureView, feature_urls  # noqa: F401 - imported before the clock starts

    modules = list(_modules(package))
    began = time.perf_counter()
    if what == "features":
        feature_urls(package)
    else:
        for module in modules:
            import_module(module)
    print(time.perf_counter() - began)


def _modules(package):
    root = Path(next(iter(import_module(package).__path__)))
    for path in sorted(root.rglob("*.py")):
        yield ".".join([package, *path.relative_to(root).with_suffix("").parts])


if __name__ == "__main__":
    main(*sys.argv[1:])
