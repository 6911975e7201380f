from numflow_django import FeatureView


class One(FeatureView):
    """Has no steps of its own: started by start_run() only."""

    steps = "tests.faults.site.features.three.steps"
    path = "one/"
    method = "POST"
