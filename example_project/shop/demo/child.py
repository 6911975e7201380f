"""
Runs a command of manage.py that ends when its parent process ends for any reason.

``python -m example_project.shop.demo.child manage.py runserver``, with a pipe as its standard input.
"""

import os
import signal
import sys
import threading

from django.core.management import execute_from_command_line


def end_with_parent() -> None:
    """Wait for the end of the pipe, which the kernel closes when the parent ends, and end this process."""
    # Not sys.stdin: a thread that waits in it keeps its lock and breaks the interpreter's shutdown
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def watch() -> None:
    """Start to wait, in a thread."""
    threading.Thread(target=end_with_parent, daemon=True).start()


if __name__ == "__main__":
    watch()
    # The worker forks a process for each run, which would outlive it
    os.register_at_fork(after_in_child=watch)
    execute_from_command_line(sys.argv[1:])
