"""The whole site at work: a broker, a web server and a worker."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn, Self

from django.conf import settings

from numflow_django.embedded import EmbeddedBroker

from .interrupt import Interrupt
from .port import HOST
from .process import Process

#: Seconds until what is waited for must have happened.
PATIENCE = 30


class SiteError(Exception):
    """A part of the site has ended by itself, or what it was to do takes too long."""


class Site:
    """
    Broker (unless REDIS_URL names one), web server on *port* and worker, for as long as the ``with`` block lasts.

    *write* gets each line of their output. Everything here raises SiteError if a process has ended, and Interrupted;
    the start also EmbeddedBrokerError.
    """

    def __init__(self, port: int, write: Callable[[str], None], interrupt: Interrupt) -> None:
        self.port = port
        self._interrupt = interrupt
        self._processes = [
            Process("web", "runserver", "--noreload", "--skip-checks", f"{HOST}:{port}", write=write),
            Process("worker", "rqworker", "default", write=write),
        ]

    def __enter__(self) -> Self:
        with ExitStack() as started:
            if not os.environ.get("REDIS_URL"):
                started.enter_context(EmbeddedBroker(settings.DEMO_DIR.parent))
            for process in self._processes:
                started.enter_context(process)
            self.wait_until(self._is_answering, "the web server answers")
            self._running = started.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when *condition* is true. Raise SiteError if that takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise SiteError(f"After {PATIENCE} seconds this has not happened: {what}.")
            time.sleep(0.05)

    def stay(self) -> NoReturn:
        """Keep the site at work."""
        while True:
            self._check()
            time.sleep(0.1)

    def _check(self) -> None:
        self._interrupt.check()
        for process in self._processes:
            if process.exit_code is not None:
                raise SiteError(f"The {process.name} process has ended with exit code {process.exit_code}; see above.")

    def _is_answering(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True
