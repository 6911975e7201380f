"""``manage.py numflow_relay``: the relay as a process of its own, for sites that do not use FeatureWorker."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from numflow_django.conf import conf
from numflow_django.db.connections import close_connections
from numflow_django.execution.relay import Relay
from numflow_django.signals import logger


class Command(BaseCommand):
    """Runs a tick of the relay every ``RELAY_SECONDS`` until SIGTERM or Ctrl+C, or one tick only."""

    help = "Enqueues runs that are due or that Redis has lost, and recovers runs whose worker died."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--once``."""
        parser.add_argument("--once", action="store_true", help="check every run once, print what was done, and exit")

    def handle(self, *args: Any, **options: Any) -> None:
        """Tick until a signal asks to stop."""
        relay = Relay()
        if options["once"]:
            report = relay.tick(seconds=float("inf"), thorough=True)
            self.stdout.write(
                f"recovered {report.recovered}, lost in Redis {report.undispatched}, dispatched {report.dispatched}"
            )
            return
        stop = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        while not stop.is_set():
            self._tick(relay)
            stop.wait(conf.RELAY_SECONDS)

    def _tick(self, relay: Relay) -> None:
        try:
            relay.tick()
        except Error as error:
            logger.error("relay failed error=%r; trying again in %s s", error, conf.RELAY_SECONDS)
        finally:
            close_connections()
