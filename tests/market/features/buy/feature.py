from django.views.decorators.csrf import csrf_exempt

from numflow_django import FeatureView


class Buy(FeatureView):
    """The tests' main feature: three steps and three async tasks."""

    path = "buy/"
    method = "POST"
    decorators = [csrf_exempt]
