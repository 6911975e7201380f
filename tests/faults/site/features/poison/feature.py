from numflow_django import FeatureView


class Poison(FeatureView):
    """Has no steps of its own: started by start_run() only."""

    steps = "tests.faults.site.features.three.steps"
    path = "poison/"
    method = "POST"
