"""Time limits that end when the test wants, whatever the machine is doing meanwhile."""

import signal

#: Seconds: a limit that no test reaches by itself.
LONG = 3600


def expire(seconds=1e-6):
    """
    Let the limit of the call that is running end in *seconds*, with its own alarm.

    The alarm goes off within this call or after it, so the caller has begun for certain. It is repeated as often as
    the call's own alarm would be.
    """
    _, interval = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, seconds, interval)
