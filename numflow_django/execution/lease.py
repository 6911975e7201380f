"""The lease of a run, which this process holds while it works on the run."""

from types import TracebackType
from typing import Self

from ..models import FeatureRun
from .keeper import Keeper


class Lease:
    """Hold the lease of a run while the block runs. A test may pass a *keeper* of its own."""

    def __init__(self, run: FeatureRun, *, keeper: Keeper | None = None) -> None:
        self._run = run
        self._keeper = keeper or Keeper.of_process()

    def __enter__(self) -> Self:
        self._keeper.hold([self._run])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._keeper.let_go(self._run.pk)
