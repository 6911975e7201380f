"""A standing work-horse: a child process that serves one run after another."""

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ..signals import logger
from ..text import console
from .shared_status import Board

#: What a work-horse sends when it has no run at work and none to take.
AT_REST = b"at rest"

#: What it does: it is given its end of the pipe, and ends when it returns.
Work = Callable[[Connection, Board], None]


class WorkHorse:
    """
    A child process, forked ahead of its first run, and the pipe to it.

    It lives in a process group of its own, as RQ's does, and ends when its worker does: the pipe tells it.
    """

    def __init__(self, work: Work) -> None:
        self.board = Board()
        self.status: int | None = None  # how it ended, as waitpid() tells it
        self._pipe, theirs = Pipe()
        console.flush()  # else the child would write the buffered text again
        self.pid = os.fork()
        if not self.pid:
            self._pipe.close()
            _live(work, theirs, self.board)
        theirs.close()

    def send(self, name: str, limit: float) -> bool:
        """Have it serve the job *name* and those after it; False if it is dead."""
        # Written here: a horse that dies before it has read the message leaves this job undone
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
        """Wait for at most *seconds*; give whether it is at rest again, or has ended with *status*."""
        with suppress(EOFError, OSError):
            if self._pipe.poll(seconds):
                self._pipe.recv_bytes()
                return True
            # A program that its task has left behind may hold the pipe open
            return self._reap(os.WNOHANG)
        return self._reap(0)

    def dismiss(self) -> None:
        """Let it end after the run that is at work, without waiting for that."""
        self._pipe.close()
        if self.board.read() is None:
            self._reap(0)

    def _reap(self, options: int) -> bool:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            pid, status = self.pid, 0  # somebody else has waited for it
        if pid:
            self.status = status
            self._pipe.close()
        return bool(pid)


def _live(work: Work, pipe: Connection, board: Board) -> None:
    status = 1
    try:
        os.setpgrp()
        work(pipe, board)
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, nothing of the worker's own stack may run in its child
        logger.exception("work-horse failed")
    finally:
        console.flush()
        os._exit(status)
