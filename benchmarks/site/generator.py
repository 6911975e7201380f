"""Features by the hundred, written to a folder."""

FEATURE = """from numflow_django import FeatureView


class Feature{number}(FeatureView):
    path = "f{number}/"
    method = "GET"
"""
#: One query in each step, as a step that does something has.
INSERT = """from benchmarks.site.models import Order


def {name}(ctx):
    ctx.pk = Order.objects.create(sku="A-1", quantity=1).pk
"""
UPDATE = """from benchmarks.site.models import Order


def {name}(ctx):
    Order.objects.filter(pk=ctx.pk).update(quantity={place})
"""
ANSWER = """from django.http import HttpResponse


def {name}(ctx):
    return HttpResponse("done")
"""


def write_features(folder, features, steps):
    """Write a package ``features`` of *features* features with *steps* steps each under *folder*."""
    for number in range(features):
        home = folder / "features" / f"f{number:04}"
        (home / "steps").mkdir(parents=True)
        (home / "feature.py").write_text(FEATURE.format(number=number))
        for place in range(1, steps + 1):
            body = INSERT if place == 1 else ANSWER if place == steps else UPDATE
            name = f"step_{place}"
            (home / "steps" / f"{place * 100:04}_{name}.py").write_text(body.format(name=name, place=place))
