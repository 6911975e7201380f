"""What an author decides about a task, and about a retry of the steps."""

from datetime import timedelta
from functools import wraps

import pytest

from numflow_django import Retry, async_task
from numflow_django.discovery.policy import MAX_REQUEST_ATTEMPTS, TaskPolicy, policy_of


def test_a_task_without_the_decorator_has_the_defaults(settings):
    """A task without ``@async_task`` gets NUMFLOW's time limit, no transaction, and does not stop the others."""
    settings.NUMFLOW = {"TASK_TIMEOUT": 12}

    def send(ctx):
        pass

    policy = policy_of(send)

    assert (policy.seconds, policy.atomic, policy.stop_on_failure) == (12, False, False)


def test_the_decorator_gives_rules_and_leaves_the_function_itself():
    """``@async_task(...)`` keeps the function as it is and gives it its rules."""

    def send(ctx):
        pass

    decorated = async_task(timeout=0.5, atomic=True, stop_on_failure=True)(send)
    policy = policy_of(decorated)

    assert decorated is send
    assert (policy.seconds, policy.atomic, policy.stop_on_failure) == (0.5, True, True)


@pytest.mark.parametrize("decorate", [async_task, async_task()])
def test_the_decorator_may_stand_alone(settings, decorate):
    """``@async_task`` and ``@async_task()`` give the defaults, with a limit that follows the settings."""

    @decorate
    def send(ctx):
        pass

    settings.NUMFLOW = {"TASK_TIMEOUT": 7}

    assert policy_of(send).seconds == 7


def test_rules_shine_through_a_decorator_above():
    """The rules hold if another decorator that uses functools.wraps stands above."""

    def logged(function):
        @wraps(function)
        def wrapper(ctx):
            return function(ctx)

        return wrapper

    @logged
    @async_task(timeout=5)
    def send(ctx):
        pass

    assert policy_of(send).seconds == 5


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "30", True, timedelta(0), 1e10], ids=repr)
def test_a_timeout_is_a_positive_number_of_seconds(timeout):
    """A timeout that is not a positive, finite number is a ValueError that says what to write."""
    with pytest.raises(ValueError, match="give a positive number of seconds") as caught:
        async_task(timeout=timeout)

    assert f"async_task(timeout={timeout!r})" in str(caught.value)


def test_rules_are_given_by_name():
    """``@async_task(30)`` is an error that shows the way."""
    with pytest.raises(TypeError, match=r"async_task\(30\): give the rules by name, such as async_task\(timeout=30\)"):
        async_task(30)


def send(ctx):
    """A task."""


EVERY_RULE = {
    "max_attempts": 5,
    "delay": timedelta(minutes=1),
    "factor": 3,
    "max_delay": timedelta(hours=1),
    "jitter": 0,
    "retry_on": OSError,
    "timeout": timedelta(seconds=3),
    "atomic": True,
    "start_after": timedelta(days=1),
    "stop_on_failure": True,
}


def test_every_rule():
    """C4: all rules arrive; a timedelta counts as its seconds, and one exception class as a tuple of one."""
    policy = policy_of(async_task(**EVERY_RULE)(lambda ctx: None))

    assert policy == TaskPolicy(
        max_attempts=5,
        delay=60,
        factor=3,
        max_delay=3600,
        jitter=0,
        retry_on=(OSError,),
        timeout=3,
        atomic=True,
        start_after=86_400,
        stop_on_failure=True,
    )


SECONDS = "zero or more seconds, at most ten years"
OUT_OF_RANGE = [
    ("max_attempts", 0, "at least 1, the first execution"),
    ("max_attempts", 1.5, "at least 1, the first execution"),
    ("max_attempts", True, "at least 1, the first execution"),
    ("delay", -1, SECONDS),
    ("delay", None, SECONDS),
    ("delay", "10", SECONDS),
    ("delay", timedelta(seconds=-1), SECONDS),
    ("max_delay", float("inf"), SECONDS),
    ("start_after", float("nan"), SECONDS),
    ("start_after", 1e300, SECONDS),
    ("start_after", timedelta(days=3651), SECONDS),
    ("factor", 0.5, "a number of at least 1"),
    ("factor", "2", "a number of at least 1"),
    ("factor", float("inf"), "a number of at least 1"),
    ("jitter", -0.1, "a fraction from 0 to 1"),
    ("jitter", 1.1, "a fraction from 0 to 1"),
    ("jitter", None, "a fraction from 0 to 1"),
    ("retry_on", (), "a tuple of exception classes"),
    ("retry_on", [OSError], "a tuple of exception classes"),
    ("retry_on", (OSError, "KeyError"), "a tuple of exception classes"),
    ("retry_on", int, "a tuple of exception classes"),
    ("retry_on", 3, "a tuple of exception classes"),
    ("atomic", "yes", "True or False"),
    ("stop_on_failure", 1, "True or False"),
]


@pytest.mark.parametrize(("rule", "value", "wanted"), OUT_OF_RANGE, ids=repr)
def test_a_rule_out_of_range_is_an_error(rule, value, wanted):
    """C4: a value that a rule cannot have is a ValueError at import time, that says what to write."""
    with pytest.raises(ValueError, match=f"give {wanted}") as caught:
        async_task(**{rule: value})

    assert str(caught.value) == f"async_task({rule}={value!r}): give {wanted}"


@pytest.mark.parametrize(
    ("rule", "hint"), [("max_attempt", "did you mean 'max_attempts'?"), ("xyz", "the rules are max_attempts, delay, ")]
)
def test_a_rule_that_does_not_exist(rule, hint):
    """C4: a rule that does not exist is a TypeError with a did-you-mean, or the list of rules."""
    with pytest.raises(TypeError) as caught:
        async_task(**{rule: 1})

    assert str(caught.value).startswith(f"async_task({rule}=...): there is no such rule; {hint}")


# Waits


@pytest.mark.parametrize(("attempt", "wait"), [(1, 10), (2, 30), (3, 90), (4, 100), (50, 100)], ids=str)
def test_waits_grow(attempt, wait):
    """C4: the wait is delay, then delay x factor and so on, at most max_delay."""
    policy = TaskPolicy(max_attempts=99, delay=10, factor=3, max_delay=100, jitter=0)

    assert policy.wait_after(OSError(), attempt) == wait


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 7.5), (0.5, 10), (1.0, 12.5)])
def test_jitter(monkeypatch, drawn, wait):
    """C4: each wait is up to the jitter shorter or longer."""
    monkeypatch.setattr("random.uniform", lambda low, high: low + (high - low) * drawn)

    assert TaskPolicy(max_attempts=2, delay=10, jitter=0.25).wait_after(OSError(), 1) == pytest.approx(wait)


def test_waits_stay_within_the_jitter():
    """C4: drawn a thousand times, no wait is out of its bounds, and they are not all the same."""
    policy = TaskPolicy(max_attempts=9, delay=10, factor=2, max_delay=15, jitter=0.2)

    waits = [policy.wait_after(OSError(), 1 + number % 8) for number in range(1000)]

    assert all(8 <= wait <= 18 for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize(("delay", "wait"), [(10, 900), (0, 0)])
@pytest.mark.parametrize("factor", [2, 2.0, 10**6, 1e300])
def test_a_great_number_of_attempts_does_not_overflow(factor, delay, wait):
    """C4: at the millionth attempt the wait is max_delay, as it was long before, or none if there is no delay."""
    policy = TaskPolicy(max_attempts=10**7, delay=delay, factor=factor, jitter=0)

    assert policy.wait_after(OSError(), 10**6) == wait


@pytest.mark.parametrize(("attempt", "again"), [(1, True), (2, True), (3, False), (4, False)])
def test_attempts_are_executions(attempt, again):
    """C4: max_attempts=3 is three executions in all."""
    assert (TaskPolicy(max_attempts=3).wait_after(OSError(), attempt) is not None) is again


def test_the_attempts_of_the_settings(settings):
    """C4: a task that does not say how often has NUMFLOW["TASK_MAX_ATTEMPTS"], by default one."""
    policy = policy_of(send)

    default = policy.attempts
    settings.NUMFLOW = {"TASK_MAX_ATTEMPTS": 4}

    assert (default, policy.attempts) == (1, 4)


@pytest.mark.parametrize(
    ("error", "again"),
    [(ConnectionError(), True), (OSError(), True), (KeyError(), False), (SystemExit(), False)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_only_some_errors_are_tried_again(error, again):
    """C4: an error of the types retry_on, or of a type below them, is tried again; any other fails at once."""
    policy = TaskPolicy(max_attempts=3, retry_on=(OSError,))

    assert (policy.wait_after(error, 1) is not None) is again


@pytest.mark.parametrize(
    ("max_attempts", "executions"), [(None, MAX_REQUEST_ATTEMPTS), (1, 1), (3, 3), (100, MAX_REQUEST_ATTEMPTS)]
)
def test_a_retry_counts_executions(max_attempts, executions):
    """A27: ``max_attempts=3`` is three executions in all; there are never more than eleven."""
    retry = Retry(max_attempts=max_attempts)

    assert MAX_REQUEST_ATTEMPTS == 11
    assert retry.allows(executions - 1)
    assert not retry.allows(executions)


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (1.5, 1.5), (timedelta(minutes=1), 60)])
def test_a_retry_s_delay_is_in_seconds(delay, seconds):
    """A27: The wait before a retry is given in seconds or as a timedelta."""
    retry = Retry(delay=delay, max_attempts=2)

    assert retry.delay == seconds
    assert repr(retry) == f"Retry(delay={seconds:g}, max_attempts=2)"


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 1e10, None, timedelta(seconds=-1)], ids=repr)
def test_a_retry_s_delay_is_not_negative(delay):
    """A27: A delay that is negative or no number of seconds is a ValueError."""
    with pytest.raises(ValueError, match="give zero or more seconds") as caught:
        Retry(delay=delay)

    assert f"Retry(delay={delay!r})" in str(caught.value)


@pytest.mark.parametrize("max_attempts", [0, -1])
def test_a_retry_allows_at_least_the_first_execution(max_attempts):
    """A27: Fewer than one execution is a ValueError."""
    with pytest.raises(
        ValueError, match=rf"Retry\(max_attempts={max_attempts}\): give at least 1, the first execution"
    ):
        Retry(max_attempts=max_attempts)
