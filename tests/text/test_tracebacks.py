"""Tracebacks for people."""

from numflow_django.discovery.registry import Registry
from numflow_django.text.tracebacks import traceback_of


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError


def test_our_own_frames_are_left_out():
    """The traceback has the author's own frames and none of this package."""

    def fail():
        Registry().register(None)

    text = traceback_of(caught(fail))

    assert "in fail\n" in text
    assert "registry.py" not in text
    assert text.splitlines()[-1].startswith("AttributeError: ")


def test_the_frames_of_linked_errors_are_left_out_too():
    """The errors that led to an error, and the members of a group, are shown in the same way."""

    def fail():
        try:
            Registry().register(None)
        except AttributeError as error:
            raise ExceptionGroup("both", [ValueError("one"), error]) from error

    text = traceback_of(caught(fail))

    assert "registry.py" not in text
    assert "ValueError: one" in text


def test_a_chain_of_thousands_is_no_error():
    """An error that cannot be shown still returns a text."""
    error = ValueError("last")
    link = error
    for number in range(5_000):
        link.__context__ = ValueError(str(number))
        link = link.__context__

    assert "ValueError" in traceback_of(error) or "cannot be shown" in traceback_of(error)


def test_an_error_whose_text_fails_has_a_traceback():
    """An error whose str() raises is shown without its text."""

    class Mute(Exception):
        def __str__(self):
            raise OSError("no text")

    def fail():
        raise Mute

    assert "Mute" in traceback_of(caught(fail))
