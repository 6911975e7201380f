"""What an author decides about a task, and about a retry of the steps."""

from datetime import timedelta
from functools import wraps

import pytest

from numflow_django import Retry, async_task
from numflow_django.policy import MAX_REQUEST_ATTEMPTS, policy_of


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
    """A timeout that is not a positive, finite number is a ValueError that says what to give."""
    with pytest.raises(ValueError, match="give a positive number of seconds") as caught:
        async_task(timeout=timeout)

    assert f"async_task(timeout={timeout!r})" in str(caught.value)


def test_rules_are_given_by_name():
    """``@async_task(30)`` is an error that shows the way."""
    with pytest.raises(TypeError, match=r"async_task\(30\): give the rules by name, such as async_task\(timeout=30\)"):
        async_task(30)


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


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), timedelta(seconds=-1)], ids=repr)
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
