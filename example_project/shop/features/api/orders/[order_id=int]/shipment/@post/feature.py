from django.contrib.auth.decorators import permission_required

from numflow_django import FeatureView


class ShipOrder(FeatureView):
    """Ship an order; for the staff. The folders define method and path."""

    # No csrf_exempt: the staff use the cookie of the admin
    decorators = [permission_required("shop.change_order", raise_exception=True)]
