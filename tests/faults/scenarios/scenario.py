"""What a scenario is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ALL = ("postgresql", "mysql", "sqlite")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One row of the table."""

    number: str
    fault: str
    wanted: str  # to pass
    play: Callable[[Any], tuple[str, str]]  # with a Scene; gives the size and what was measured
    databases: tuple[str, ...] = ALL
