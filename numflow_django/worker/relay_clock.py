"""When a worker runs the relay: one tick every RELAY_SECONDS, between two jobs and while one is running."""

from collections.abc import Callable
from math import inf
from time import monotonic

from ..conf import conf
from ..db.connections import close_connections
from ..execution.relay import Relay
from ..signals import logger


class RelayClock:
    """Run the relay's ticks for the worker *name*, and call *prepare* before each."""

    def __init__(self, name: str, *, prepare: Callable[[], None]) -> None:
        self._name = name
        self._prepare = prepare
        self._relay = Relay()
        self._last_tick = -inf  # monotonic seconds
        self.is_ticking = False

    @property
    def is_due(self) -> bool:
        """Return whether it is time for a tick."""
        return monotonic() - self._last_tick >= conf.RELAY_SECONDS

    def make_due(self) -> None:
        """Make the next tick due at once."""
        self._last_tick = -inf

    def tick(self) -> None:
        """Run one tick. Log its errors."""
        self._last_tick = monotonic()
        self.is_ticking = True
        try:
            self._prepare()
            self._relay.tick()
        except Exception:  # noqa: BLE001 - a database that is down must not end the worker
            logger.exception("relay failed worker=%s; trying again in %s s", self._name, conf.RELAY_SECONDS)
        finally:
            self.is_ticking = False
            # A work-horse must not inherit a connection
            close_connections()
