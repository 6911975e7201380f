from django.views.decorators.csrf import csrf_exempt

from numflow_django import FeatureView


class CreateOrder(FeatureView):
    """Buy: ``{"email": "minji@example.com", "items": [{"product": 1, "quantity": 2}]}``."""

    path = "api/orders/"
    method = "POST"
    decorators = [csrf_exempt]
