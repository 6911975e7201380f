"""The RQ worker and its work-horse."""

from .feature_worker import FeatureWorker

__all__ = ["FeatureWorker"]
