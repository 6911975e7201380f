"""The console in development: it shows the trace and the worker's log if the site's LOGGING does not handle them."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from ..conf import conf

NAME = "numflow_django"

GREEN, RED, RESET = "\x1b[32m", "\x1b[31m", "\x1b[0m"

#: What to print for a mark on a console that cannot show it.
IN_ASCII = {"✓": "ok", "✗": "FAILED"}


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """
    Write to standard error the records that no other handler gets.

    Without any handler, Python shows records from WARNING on. In development, this handler shows the others too. It
    ignores a record that a handler of the site gets, also if that was configured later.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Return the current standard error, as logging's last-resort handler does."""
        return sys.stderr

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether no other handler gets *record* and, outside development, its level is high enough."""
        wanted = conf.TRACE or record.levelno >= logging.WARNING
        return wanted and not any(others(record.name)) and bool(super().filter(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the record in characters that this console can show; a trace has no time and level."""
        text = record.getMessage() if record.name == f"{NAME}.trace" else super().format(record)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        for mark, colour in (("✓", GREEN), ("✗", RED)):
            shown = mark if _can_show(mark, encoding) else IN_ASCII[mark]
            text = text.replace(mark, f"{colour}{shown}{RESET}" if _is_coloured(self.stream) else shown)
        return text.encode(encoding, "backslashreplace").decode(encoding)


def others(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers, other than this module's, that get the records of the logger *name*."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger:
        yield from (handler for handler in logger.handlers if not isinstance(handler, ConsoleHandler))
        logger = logger.parent if logger.propagate else None


def flush() -> None:
    """
    Write the buffered output.

    Python buffers output to a file or a pipe, and a work-horse exits without writing its buffer.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # it may be closed, or None
            stream.flush()


def install() -> None:
    """In development, show what this package logs, unless the site's LOGGING handles it."""
    if not conf.TRACE:
        return
    logger = logging.getLogger(NAME)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)  # as Django does for its own
    if not any(others(NAME)) and not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())


def _can_show(mark: str, encoding: str) -> bool:
    try:
        mark.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _is_coloured(stream: TextIO) -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
