"""The time limit of a task, with real alarms."""

import signal
import threading
import time
from contextlib import suppress

import pytest

from numflow_django.exceptions import TaskTimeout
from numflow_django.execution import timeout
from numflow_django.execution.timeout import call_with_limit
from tests.support.waiting import eventually

TINY = 0.05

# In a thread: these tests would take the alarm away that pytest-timeout otherwise uses
pytestmark = pytest.mark.timeout(20, method="thread")


@pytest.fixture(autouse=True)
def quick_repetition(monkeypatch):
    monkeypatch.setattr(timeout, "REPEAT", TINY)


@pytest.fixture
def outer_alarm():
    """An alarm that was set before, as by RQ's work-horse; it returns how often it went off."""
    rings = []
    began = time.monotonic()

    def ring(signum, frame):
        rings.append(signum)
        if time.monotonic() > began + 30:
            raise AssertionError("the limit under test did not end the call")

    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 60, 30)
    yield rings
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


def forever():
    """Run until an error is raised in it."""
    while True:
        pass


def limited(function, seconds=TINY):
    return call_with_limit(function, seconds=seconds, name="async task 100 send (100_send.py)")


def test_a_call_within_its_limit_gives_what_it_returns():
    """A call that ends in time returns its value and leaves no alarm behind."""
    before = signal.getsignal(signal.SIGALRM)

    assert limited(lambda: "done", seconds=60) == "done"

    assert signal.getsignal(signal.SIGALRM) is before


def test_an_error_within_the_limit_is_raised_on():
    """An error of the function's own is raised unchanged."""
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0, seconds=60)


@pytest.mark.parametrize("function", [forever, lambda: time.sleep(3600)], ids=["busy", "asleep"])
def test_a_call_beyond_its_limit_is_ended(function):
    """C9: A task that is busy or asleep beyond its limit fails with TaskTimeout, which names it and the remedy."""
    with pytest.raises(TaskTimeout) as caught:
        limited(function)

    assert str(caught.value) == (
        "async task 100 send (100_send.py) exceeded its timeout of 0.05 s; raise it with @async_task(timeout=...), or "
        "do less"
    )
    assert isinstance(caught.value, TimeoutError)


def test_the_cause_shows_where_the_task_was():
    """C9: The traceback of TaskTimeout ends in the line of the task that was interrupted."""
    with pytest.raises(TaskTimeout) as caught:
        limited(forever)

    frames = []
    following = caught.value.__cause__.__traceback__
    while following:
        frames.append(following.tb_frame.f_code.co_name)
        following = following.tb_next
    assert "forever" in frames


def test_a_function_that_swallows_exceptions_is_ended():
    """C9: ``except Exception`` in a loop does not keep a task alive beyond its limit."""

    def stubborn():
        while True:
            with suppress(Exception):
                forever()

    with pytest.raises(TaskTimeout):
        limited(stubborn)


def test_a_function_that_swallows_everything_once_is_ended():
    """C9: The interruption is repeated for code that swallows even BaseException."""
    swallowed = []

    def stubborn():
        try:
            forever()
        except BaseException as error:
            swallowed.append(error)
        forever()

    with pytest.raises(TaskTimeout):
        limited(stubborn)

    assert [type(error) for error in swallowed] == [timeout.Expired]


def test_a_function_may_clean_up():
    """C9: ``finally`` blocks of an interrupted task run."""
    steps = []

    def tidy():
        try:
            forever()
        finally:
            steps.append("cleaned")

    with pytest.raises(TaskTimeout):
        limited(tidy)

    assert steps == ["cleaned"]


@pytest.mark.parametrize("seconds", [60, TINY], ids=["in time", "too late"])
def test_an_outer_alarm_goes_on_afterwards(outer_alarm, seconds):
    """An earlier alarm gets its handler and the rest of its time back, whether or not the call ended in time."""
    handler = signal.getsignal(signal.SIGALRM)

    with pytest.raises((TaskTimeout, ZeroDivisionError)):
        limited(forever if seconds == TINY else lambda: 1 / 0, seconds=seconds)

    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert 0 < left <= 60
    assert interval == 30
    assert outer_alarm == []


def test_an_outer_alarm_that_fell_due_meanwhile_rings(outer_alarm):
    """An outer alarm whose time passed during the call goes off right after it."""
    signal.setitimer(signal.ITIMER_REAL, TINY / 5)

    with pytest.raises(TaskTimeout):
        limited(forever)

    assert eventually(lambda: outer_alarm) == [signal.SIGALRM]


def test_limits_may_be_nested():
    """A limit within a limit: the inner one ends its call, and the outer one goes on to end the rest."""
    reached = []

    def outer():
        with pytest.raises(TaskTimeout):
            limited(forever)
        reached.append("rest")
        forever()

    with pytest.raises(TaskTimeout):
        limited(outer, seconds=10 * TINY)

    assert reached == ["rest"]


def test_no_alarm_rings_after_the_call():
    """A call that ends in time is not followed by its alarm."""
    limited(lambda: None)

    assert signal.getitimer(signal.ITIMER_REAL)[1] != TINY


def test_there_is_no_limit_outside_the_main_thread():
    """Outside the main thread, where Python has no signals, the call is made without a limit."""
    handler = signal.getsignal(signal.SIGALRM)
    seen = []

    def body():
        seen.append(limited(lambda: signal.getsignal(signal.SIGALRM) is handler, seconds=1e-6))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()

    assert seen == [True]
