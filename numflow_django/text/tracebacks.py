"""Tracebacks without the frames of this package, which do not help the reader."""

import os
import traceback
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = str(Path(__file__).parent.parent) + os.sep


def traceback_of(error: BaseException) -> str:
    """
    Return the traceback of *error* and of the errors that led to it, as Python prints them, without our own frames.

    Never raise: an error that cannot be shown, such as a chain of thousands, must still be recorded.
    """
    try:
        report = traceback.TracebackException.from_exception(error)
        for each in _chain(report):
            theirs = [frame for frame in each.stack if not frame.filename.startswith(_PACKAGE)]
            each.stack[:] = theirs or each.stack[-1:]
        return "".join(report.format())
    except Exception as failure:  # noqa: BLE001 - showing an error can raise anything; the error itself matters more
        return f"(the traceback cannot be shown: {type(failure).__name__})"


def _chain(report: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """Yield *report*, those that led to it, and the members of groups. A loop, because there may be thousands."""
    waiting = [report]
    while waiting:
        each = waiting.pop()
        yield each
        linked = (each.__cause__, each.__context__, *(getattr(each, "exceptions", None) or ()))
        waiting += [one for one in linked if one is not None]
