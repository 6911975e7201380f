from numflow_django import FeatureView


class Order(FeatureView):
    path = "order/"
    method = "POST"
