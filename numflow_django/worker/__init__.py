"""The RQ worker of numflow_django and its work-horse."""

from .feature_worker import FeatureWorker

__all__ = ["FeatureWorker"]
