"""Starting with a thousand features."""

import shutil

from benchmarks.measure import Measure, Target
from benchmarks.site.generator import write_features


class Startup(Measure):
    """``feature_urls()`` of many features of five steps, against importing the same modules and nothing else."""

    name = "startup"
    title = "Start-up with {scale.features:,} features of 5 steps, against importing their modules"
    unit = "s"
    contestants = ("feature_urls", "imports")
    targets = (Target(subject="feature_urls", reference="imports", at_most=1.3),)

    def prepare(self):
        """Write the features, and let Python compile them."""
        folder = self.arena.folder / "many"
        shutil.rmtree(folder, ignore_errors=True)
        write_features(folder, self.scale.features, 5)
        self.arena.run("-m", "compileall", "-q", str(folder))

    def once(self, contestant):
        """Start one process."""
        what = "features" if contestant == "feature_urls" else "imports"
        return {contestant: float(self.arena.run("-m", "benchmarks.site.startup", what, "many.features"))}
