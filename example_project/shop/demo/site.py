"""The whole running site: a broker, a web server and a worker."""

import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NoReturn, Self

from django.conf import settings

from numflow_django.embedded import EmbeddedBroker

from .interrupt import Interrupt
from .port import HOST
from .process import Process

#: The most seconds of a wait.
PATIENCE = 30

LISTENS = re.compile(rf"server at http://{re.escape(HOST)}:([0-9]+)/")


class SiteError(Exception):
    """A part of the site has ended, or takes too long."""


class Site:
    """
    Broker (unless REDIS_URL is set), worker and web server, during a ``with`` block.

    The web server uses the first free port of *ports*, which *port* returns. *write* gets each line of their output.
    Each method raises SiteError if a process has ended, and Interrupted; the start also raises EmbeddedBrokerError.
    """

    def __init__(self, ports: Sequence[int], write: Callable[[str], None], interrupt: Interrupt) -> None:
        self.port = 0
        self._ports = ports
        self._write = write
        self._interrupt = interrupt
        self._processes: list[Process] = []
        self._is_served = False  # the worker has registered

    def __enter__(self) -> Self:
        with ExitStack() as started:
            if not os.environ.get("REDIS_URL"):
                started.enter_context(EmbeddedBroker(settings.DEMO_DIR.parent))
            worker = started.enter_context(Process("worker", "rqworker", "default", write=self._hear_worker))
            self._processes.append(worker)
            self._processes.append(self._start_web(started))
            self._check()
            self.wait_until(lambda: self._is_served, "the worker listens")
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
        """Keep the site running."""
        while True:
            self._check()
            time.sleep(0.1)

    def _check(self) -> None:
        self._interrupt.check()
        for process in self._processes:
            if process.exit_code is not None:
                raise SiteError(f"The {process.name} process has ended with exit code {process.exit_code}; see above.")

    def _start_web(self, started: ExitStack) -> Process:
        for port in self._ports:
            address = f"{HOST}:{port}"
            web = Process("web", "runserver", "--noreload", "--skip-checks", address, write=self._hear)
            started.enter_context(web)
            self.wait_until(partial(self._has_begun, web), "the web server listens")
            if self.port:
                break
        return web

    def _has_begun(self, web: Process) -> bool:
        return bool(self.port) or web.exit_code is not None

    def _hear(self, line: str) -> None:
        # Only the server itself knows whether it got the port, and which one the system chose
        found = LISTENS.search(line)
        if found:
            self.port = int(found[1])
        self._write(line)

    def _hear_worker(self, line: str) -> None:
        self._is_served = self._is_served or "Listening on" in line
        self._write(line)
