"""The console in development shows this package's log, unless the site's LOGGING handles it."""

import io
import logging
import os
import re
import subprocess
import sys

import pytest

from numflow_django.text.console import ConsoleHandler
from tests.support.sites import ROOT

PROGRAM = """
import logging, django
from django.conf import settings
settings.configure(
    DEBUG={debug}, USE_TZ=True, RQ_QUEUES={{"default": {{}}}}, INSTALLED_APPS=["django_rq", "numflow_django"],
    LOGGING={logging}, NUMFLOW={numflow},
)
django.setup()
logging.getLogger("numflow_django").info("task succeeded")
logging.getLogger("numflow_django.trace").info("[Feature] \u2713")
logging.getLogger("numflow_django").warning("task retried")
{then}
"""
OWN = {"version": 1, "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}}}
OWN |= {"formatters": {"own": {"format": "own: %(message)s"}}, "disable_existing_loggers": False}


def shown(*, debug=True, logging=None, numflow=None, then="", **environment):
    """Return what a new process with these settings writes to standard error, without the times."""
    code = PROGRAM.format(debug=debug, logging=logging or {}, numflow=numflow or {}, then=then)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return [line[9:] if line[2:3] == ":" == line[5:6] else line for line in done.stderr.splitlines()]


def test_a_new_project_in_development_shows_everything():
    """With DEBUG and no LOGGING, the console shows the trace and the worker's log."""
    assert shown() == ["INFO task succeeded", "[Feature] ✓", "WARNING task retried"]


@pytest.mark.parametrize(
    ("debug", "trace", "seen"),
    [
        (False, None, False),
        (True, False, False),
        (False, True, True),
    ],
)
def test_outside_development_python_s_own_rules_hold(debug, trace, seen):
    """With DEBUG off, or TRACE off, the console shows what Python shows by itself: warnings, and nothing twice."""
    lines = ["INFO task succeeded", "[Feature] ✓", "WARNING task retried"] if seen else ["task retried"]

    assert shown(debug=debug, numflow={"TRACE": trace}) == lines


@pytest.mark.parametrize(
    "own",
    [
        {"root": {"handlers": ["own"], "level": "WARNING"}},
        {"loggers": {"numflow_django": {"handlers": ["own"]}}},
    ],
    ids=["root", "logger"],
)
def test_a_handler_of_the_site_gets_it_all(own):
    """A handler in LOGGING, even the root's, gets the trace, and nothing is shown twice."""
    assert shown(logging=OWN | own) == ["own: task succeeded", "own: [Feature] ✓", "own: task retried"]


def test_a_handler_that_is_added_later_takes_over():
    """A handler that the site adds after start-up gets the records instead."""
    then = (
        "logging.basicConfig(format='own: %(message)s')\n"
        "logging.getLogger('numflow_django').info('later')\n"
        "logging.getLogger('numflow_django.trace').info('trace later')\n"
    )

    assert shown(then=then)[3:] == ["own: later", "own: trace later"]


def test_the_docs_configuration_silences_the_trace():
    """The LOGGING of docs/how-to/trace.md keeps the tasks' lines and drops the trace."""
    page = (ROOT / "docs/how-to/trace.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)

    assert shown(logging=names["LOGGING"]) == ["INFO task succeeded", "WARNING task retried"]


@pytest.mark.parametrize(
    ("loggers", "lines"),
    [
        ({"numflow_django.trace": {"level": "WARNING"}}, ["INFO task succeeded", "WARNING task retried"]),
        ({"numflow_django": {"level": "WARNING"}}, ["WARNING task retried"]),
        ({"numflow_django": {"handlers": ["null"]}}, []),
    ],
)
def test_a_level_or_a_null_handler_silences_it(loggers, lines):
    """LOGGING silences the trace, or all, by a level or by a handler that drops the records."""
    null = {"version": 1, "disable_existing_loggers": False, "handlers": {"null": {"class": "logging.NullHandler"}}}

    assert shown(logging=null | {"loggers": loggers}) == lines


def test_a_console_that_cannot_show_the_marks_gets_words():
    """On an ASCII console, the marks become words and other characters become escapes; nothing fails."""
    then = "logging.getLogger('numflow_django.trace').info('\u2717 \ub179\ucc28')"

    assert shown(then=then, PYTHONIOENCODING="ascii")[1::2] == ["[Feature] ok", r"FAILED \ub179\ucc28"]


class Stream(io.StringIO):
    encoding = "utf-8"

    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def marks(monkeypatch):
    """Return what is written for the two marks to a terminal or to a file."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def write(terminal=True):
        monkeypatch.setattr(sys, "stderr", Stream(terminal))
        record = logging.LogRecord("numflow_django.trace", logging.INFO, "", 0, "✓ ✗", (), None)
        ConsoleHandler().emit(record)
        return sys.stderr.getvalue()

    return write


def test_a_terminal_shows_the_marks_in_colour(marks):
    """On a terminal ✓ is green and ✗ is red."""
    assert marks() == "\x1b[32m✓\x1b[0m \x1b[31m✗\x1b[0m\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_none(marks, monkeypatch, name, value):
    """With NO_COLOR, or on a dumb terminal, there is no colour."""
    monkeypatch.setenv(name, value)

    assert marks() == "✓ ✗\n"


def test_a_file_gets_no_colour(marks):
    """Output to something other than a terminal has no colour."""
    assert marks(terminal=False) == "✓ ✗\n"


def test_the_test_runner_of_django_shows_no_info(settings):
    """With DEBUG off, as in tests, an installed handler shows warnings only."""
    handler = ConsoleHandler()
    name = "somebody"  # no other handler gets the records of this logger
    logging.getLogger(name).propagate = False
    info, warning = (logging.LogRecord(name, level, "", 0, "", (), None) for level in (logging.INFO, logging.WARNING))

    assert (handler.filter(info), handler.filter(warning)) == (False, True)
    settings.DEBUG = True
    assert handler.filter(info)
