from numflow_django import FeatureView


class Three(FeatureView):
    path = "three/"
    method = "POST"
