from numflow_django import FeatureView


class ListProducts(FeatureView):
    """What there is to buy."""

    path = "api/products/"
    method = "GET"
    atomic = False  # it only reads: no transaction, and with the answer in the cache no database at all
