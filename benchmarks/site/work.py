"""The work itself: what each of the three tasks does, whoever runs it."""

import os
import time
from functools import cache

#: How many tasks a sequence has.
TASKS = 3


def perform(key, number):
    """
    Do task *number* of the sequence *key*, ``"<milliseconds to wait>-<serial>"``, and tell the ledger.

    The ledger is the ground truth: one line for each task, appended by one write().
    """
    wait = int(key.partition("-")[0])
    if wait:
        time.sleep(wait / 1000)
    line = f"{key} {number} {os.getpid()} {os.getsid(0)} {time.monotonic_ns()}\n"
    os.write(_ledger(), line.encode())


def sequence(key):
    """Do all tasks of a sequence in order."""
    for number in range(TASKS):
        perform(key, number)


@cache
def _ledger():
    return os.open(os.environ["BENCH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
