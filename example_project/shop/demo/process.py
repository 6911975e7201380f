"""A command of manage.py as a child process, which shares the terminal and ends with its parent."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Self

from django.conf import settings

#: Seconds between SIGTERM and SIGKILL.
STOP_SECONDS = 5

ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "DJANGO_RUNSERVER_HIDE_WARNING": "true"}


class Process:
    """``manage.py`` with *arguments*, during a ``with`` block. It passes each line of output to *write*."""

    def __init__(self, name: str, *arguments: str, write: Callable[[str], None]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", f"{__package__}.child", "manage.py", *arguments]
        self._write = write

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            self._command,
            cwd=settings.BASE_DIR,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            # Only we get Ctrl+C from the terminal, and we end the children in order
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._pass_on, args=[self._child.stdout], daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._reader.join(STOP_SECONDS)

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._child.poll()

    def _pass_on(self, output: IO[str]) -> None:
        for line in output:
            if line.strip():
                self._write(f"{self.name:<6} | {line.rstrip()}")
