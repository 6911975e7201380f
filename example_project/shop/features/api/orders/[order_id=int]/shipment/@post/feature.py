from django.contrib.auth.decorators import permission_required

from numflow_django import FeatureView


class ShipOrder(FeatureView):
    """Hand an order over to the post; for the staff. Method and path come from the folders."""

    # No csrf_exempt: the staff come with the cookie of the admin
    decorators = [permission_required("shop.change_order", raise_exception=True)]
