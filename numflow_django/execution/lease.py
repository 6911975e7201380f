"""The lease of a run, which this process holds while it works on the run."""

from types import TracebackType
from typing import Self

from ..models import FeatureRun
from .lease_renewal import LeaseRenewer


class Lease:
    """Hold the lease of a run while the block runs. A test may pass a *renewer* of its own."""

    def __init__(self, run: FeatureRun, *, renewer: LeaseRenewer | None = None) -> None:
        self._run = run
        self._renewer = renewer or LeaseRenewer.of_process()

    def __enter__(self) -> Self:
        self._renewer.hold([self._run])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._renewer.let_go(self._run.pk)
