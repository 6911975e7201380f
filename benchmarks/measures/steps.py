"""What a FeatureView costs."""

from benchmarks.measure import Measure, Target
from benchmarks.site.generator import write_features


class Steps(Measure):
    """Ten steps, one query each but for the last, against the same ten calls in one function and one transaction."""

    name = "steps"
    title = "FeatureView of 10 steps, in the process, against 10 calls in one function"
    unit = "µs/request"
    contestants = ("both",)  # request by request in turn
    targets = (Target(subject="ours", reference="by hand", at_most=1.01),)

    def prepare(self):
        """Write the feature."""
        write_features(self.arena.folder / "ten", 1, 10)

    def once(self, contestant):
        """Let the clerk measure both."""
        return self.arena.clerk().steps(self.scale.requests)
