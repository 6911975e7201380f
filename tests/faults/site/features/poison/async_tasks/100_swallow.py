import ctypes
import os
import resource
import time

from numflow_django import async_task
from tests.faults.site.work import note


@async_task(timeout=1)
def swallow(ctx):
    note(ctx.run_id, ctx.task.name, ctx.task.attempt, "begin")
    POISONS[ctx.kind]()


def segfault():
    ctypes.string_at(0)


def exit_0():
    os._exit(0)


def exit_1():
    os._exit(1)


def out_of_memory():
    resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))
    hoard = []
    while True:
        hoard.append(bytearray(2**24))


def endless():
    while True:
        time.sleep(0.01)


def deaf():
    while True:
        try:  # noqa: SIM105 - as tasks do
            time.sleep(0.01)
        except Exception:
            pass


POISONS = {poison.__name__: poison for poison in (segfault, exit_0, exit_1, out_of_memory, endless, deaf)}
