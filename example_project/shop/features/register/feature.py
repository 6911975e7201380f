from django.views.decorators.csrf import csrf_exempt

from numflow_django import FeatureView


class Register(FeatureView):
    """Sign up: ``{"username": "minji", "email": "minji@example.com", "password1": "...", "password2": "..."}``."""

    path = "api/users/"
    method = "POST"
    decorators = [csrf_exempt]
