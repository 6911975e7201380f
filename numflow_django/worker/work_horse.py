"""The work-horse: a child process that executes one run after another."""

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ..signals import logger
from ..text import console
from .shared_status import SharedStatus

#: The message of a work-horse that has no job.
AT_REST = b"at rest"

#: The function that the child process calls with its end of the pipe. The process ends when the function returns.
Work = Callable[[Connection, SharedStatus], None]


class WorkHorse:
    """
    A child process, forked before its first run, and the pipe to it.

    Like RQ's work-horse, it has a process group of its own. It ends with its worker, because the pipe closes then.
    """

    def __init__(self, work: Work) -> None:
        self.board = SharedStatus()
        self.status: int | None = None  # its wait status from waitpid()
        self._pipe, theirs = Pipe()
        console.flush()  # else the child would write the buffered text again
        self.pid = os.fork()
        if not self.pid:
            self._pipe.close()
            _live(work, theirs, self.board)
        theirs.close()

    def send(self, name: str, limit: float) -> bool:
        """Send it the job *name*, with its *limit* in seconds. Return False if the work-horse is dead."""
        # The worker writes it: if the work-horse dies before it reads the message, this job is still known
        self.board.note_taken([name])
        self.board.write(name, limit)
        try:
            self._pipe.send_bytes(name.encode())
        except OSError:
            self.board.wipe()
            self._reap(0)
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for at most *seconds*. Return whether it is at rest again or has ended with *status*."""
        with suppress(EOFError, OSError):
            if self._pipe.poll(seconds):
                self._pipe.recv_bytes()
                return True
            # A program that a task started may still hold the pipe open
            return self._reap(os.WNOHANG)
        return self._reap(0)

    def dismiss(self) -> None:
        """Tell it to end after the current run, and do not wait for that run."""
        self._pipe.close()
        if self.board.read() is None:
            self._reap(0)

    def _reap(self, options: int) -> bool:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            pid, status = self.pid, 0  # other code has already waited for it
        if pid:
            self.status = status
            self._pipe.close()
        return bool(pid)


def _live(work: Work, pipe: Connection, board: SharedStatus) -> None:
    status = 1
    try:
        os.setpgrp()
        work(pipe, board)
        status = 0
    except BaseException:  # noqa: BLE001 - any error: the child must not go on in the worker's own stack
        logger.exception("work-horse failed")
    finally:
        console.flush()
        os._exit(status)
