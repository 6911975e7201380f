from numflow_django import FeatureView


class ListProducts(FeatureView):
    """The products of the shop."""

    path = "api/products/"
    method = "GET"
    atomic = False  # it only reads: it needs no transaction, and no database if the cache has the list
