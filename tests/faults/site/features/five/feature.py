from numflow_django import FeatureView


class Five(FeatureView):
    path = "five/"
    method = "POST"
