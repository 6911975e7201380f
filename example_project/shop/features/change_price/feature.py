from django.contrib.auth.decorators import permission_required

from numflow_django import FeatureView


class ChangePrice(FeatureView):
    """``{"price": 19000}``; for the staff."""

    path = "api/products/<int:product_id>/"
    method = "PATCH"
    # No csrf_exempt: the staff use the cookie of the admin
    decorators = [permission_required("shop.change_product", raise_exception=True)]
