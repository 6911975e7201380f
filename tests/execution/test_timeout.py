"""The time limit of a task, with real alarms."""

import signal
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from numflow_django.exceptions import TaskTimeout
from numflow_django.execution import timeout
from numflow_django.execution.timeout import InterruptedCalls, call_with_limit
from tests.support.alarms import LONG, expire
from tests.support.waiting import eventually

TINY = 0.05

# In a thread: these tests would take the alarm away that pytest-timeout otherwise uses
pytestmark = pytest.mark.timeout(60, method="thread")


@pytest.fixture(autouse=True)
def no_repetition(monkeypatch):
    """No alarm goes off a second time by itself: it could interrupt what a test does after the first."""
    monkeypatch.setattr(timeout, "REPEAT", LONG)


@pytest.fixture
def earlier_alarm():
    """An alarm that was set before, as by RQ's work-horse, LONG seconds ahead; it returns how often it went off."""
    calls = []
    handler = signal.signal(signal.SIGALRM, lambda signum, frame: calls.append(signum))
    left, interval = signal.setitimer(signal.ITIMER_REAL, LONG, LONG / 2)
    yield calls
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


def forever():
    """Run until an error is raised in it."""
    while True:
        pass


def overdue():
    """Exceed the limit, and run until an error is raised in it."""
    expire()
    forever()


def limited(function, seconds=LONG):
    return call_with_limit(function, seconds=seconds, name="async task 100 send (100_send.py)")


def test_a_call_within_its_limit_returns_its_value():
    """A call that ends in time returns its value, and the handler of the alarm is the old one."""
    before = signal.getsignal(signal.SIGALRM)

    assert limited(lambda: "done") == "done"

    assert signal.getsignal(signal.SIGALRM) is before


def test_an_error_within_the_limit_is_raised_on():
    """An error of the function's own is raised unchanged."""
    with pytest.raises(ZeroDivisionError):
        limited(lambda: 1 / 0)


@pytest.mark.parametrize("function", [forever, lambda: time.sleep(LONG)], ids=["busy", "asleep"])
def test_a_call_beyond_its_limit_is_ended(function):
    """C9: A task that is busy or asleep beyond its limit fails with TaskTimeout, which names it and the remedy."""
    with pytest.raises(TaskTimeout) as caught:
        limited(function, seconds=TINY)

    assert str(caught.value) == (
        "async task 100 send (100_send.py) exceeded its timeout of 0.05 s; raise it with @async_task(timeout=...), or "
        "do less"
    )
    assert isinstance(caught.value, TimeoutError)


def test_a_call_that_was_ended_is_counted(monkeypatch):
    """The process knows how many calls it has interrupted; a call that ends in time is none of them."""
    monkeypatch.setattr(InterruptedCalls, "count", 0)

    limited(lambda: None)
    with pytest.raises(TaskTimeout):
        limited(overdue)

    assert InterruptedCalls.count == 1


def test_the_cause_shows_where_the_task_was():
    """C9: The traceback of TaskTimeout ends in the line of the task that was interrupted."""
    with pytest.raises(TaskTimeout) as caught:
        limited(overdue)

    frames = []
    following = caught.value.__cause__.__traceback__
    while following:
        frames.append(following.tb_frame.f_code.co_name)
        following = following.tb_next
    assert "overdue" in frames


def test_a_function_that_swallows_exceptions_is_ended():
    """C9: ``except Exception`` in a loop does not keep a task alive beyond its limit."""
    swallowed = []

    def stubborn():
        while True:
            with suppress(Exception):
                overdue()
            swallowed.append("once more")

    with pytest.raises(TaskTimeout):
        limited(stubborn)

    assert swallowed == []


def test_a_function_that_swallows_everything_once_is_ended():
    """C9: The alarm is set again after each interruption, for code that swallows even BaseException."""
    swallowed, intervals = [], []

    def stubborn():
        try:
            overdue()
        except BaseException as error:
            swallowed.append(error)
        intervals.append(signal.getitimer(signal.ITIMER_REAL)[1])
        overdue()

    with pytest.raises(TaskTimeout):
        limited(stubborn)

    assert [type(error) for error in swallowed] == [timeout.Expired]
    assert intervals == [timeout.REPEAT]


def test_the_interruption_is_repeated_after_a_while(monkeypatch):
    """C9: Code that swallows every interruption but the last one is ended by the repetition alone."""
    monkeypatch.setattr(timeout, "REPEAT", TINY)

    def stubborn():
        for _ in range(3):
            with suppress(BaseException):
                forever()
        forever()

    with pytest.raises(TaskTimeout):
        limited(stubborn, seconds=TINY)


def test_a_function_may_clean_up():
    """C9: ``finally`` blocks of an interrupted task run."""
    steps = []

    def tidy():
        try:
            overdue()
        finally:
            steps.append("cleaned")

    with pytest.raises(TaskTimeout):
        limited(tidy)

    assert steps == ["cleaned"]


@pytest.mark.parametrize("function", [lambda: 1 / 0, overdue], ids=["in time", "too late"])
def test_an_earlier_alarm_continues_afterwards(earlier_alarm, function):
    """An earlier alarm gets its handler and the rest of its time back, whether or not the call ended in time."""
    handler = signal.getsignal(signal.SIGALRM)

    with pytest.raises((TaskTimeout, ZeroDivisionError)):
        limited(function, seconds=2 * LONG)

    left, interval = signal.getitimer(signal.ITIMER_REAL)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert LONG - 60 < left <= LONG
    assert interval == LONG / 2
    assert earlier_alarm == []


def test_an_earlier_alarm_that_fell_due_meanwhile_goes_off(earlier_alarm, monkeypatch):
    """An earlier alarm whose time passed during the call goes off right after it."""
    clock = iter([0.0, LONG + 1.0])  # at the beginning and at the end of the call
    monkeypatch.setattr(timeout, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    limited(lambda: None)

    assert eventually(lambda: earlier_alarm) == [signal.SIGALRM]


def test_limits_may_be_nested():
    """A limit within a limit: the inner one ends its call, and the outer one continues and ends the rest."""
    left = []

    def outer():
        with pytest.raises(TaskTimeout):
            limited(overdue)
        left.append(signal.getitimer(signal.ITIMER_REAL))
        overdue()

    with pytest.raises(TaskTimeout) as caught:
        limited(outer, seconds=2 * LONG)

    assert "exceeded its timeout of 7200 s" in str(caught.value)
    [(seconds, interval)] = left
    assert 2 * LONG - 60 < seconds <= 2 * LONG
    assert interval == timeout.REPEAT


@pytest.mark.parametrize("function", [lambda: None, overdue], ids=["in time", "too late"])
def test_no_alarm_is_left_after_the_call(function):
    """A call that has ended is not followed by its alarm: none is set, none is pending, the handler is the old one."""
    handler = signal.getsignal(signal.SIGALRM)

    with suppress(TaskTimeout):
        limited(function)

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.SIGALRM not in signal.sigpending()
    assert signal.getsignal(signal.SIGALRM) is handler


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
