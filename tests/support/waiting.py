"""Waiting for what another process or thread does, without a guess at how long it takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, timeout: float = 10, message: str = "") -> T:
    """
    Call *condition* every 10 ms until what it returns is true, and return that.

    Raises AssertionError with *message* after *timeout* seconds, which bound a failure and measure nothing.
    """
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(message or f"{condition} did not become true within {timeout} seconds")
        time.sleep(0.01)
    return result
