"""The work-horse: a child process that executes one run after another."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ..signals import logger
from ..text import console
from .shared_status import SharedStatus

#: The message of a work-horse that has no job.
IDLE = b"idle"

#: The function that the child process calls with its end of the pipe. The process ends when the function returns.
Work = Callable[[Connection, SharedStatus], None]


class WorkHorse:
    """
    A child process, forked before its first run, and the pipe to it.

    Like RQ's work-horse, it has a process group of its own. It ends with its worker, because the pipe closes then.
    """

    def __init__(self, work: Work) -> None:
        self.shared_status = SharedStatus()
        self.wait_status: int | None = None  # from waitpid(), once it has ended
        self._pipe, theirs = Pipe()
        console.flush()  # else the child would write the buffered text again
        self.pid = os.fork()
        if not self.pid:
            self._pipe.close()
            _live(work, theirs, self.shared_status)
        theirs.close()

    @property
    def has_ended(self) -> bool:
        """Return whether the process was found to have ended."""
        return self.wait_status is not None

    def send(self, job_id: str, limit: float) -> bool:
        """Send it this job, with its *limit* in seconds. Return False if the work-horse is dead."""
        # The worker stores it: if the work-horse dies before it reads the message, this job is still known
        self.shared_status.store_taken([job_id])
        self.shared_status.store_running(job_id, limit)
        try:
            self._pipe.send_bytes(job_id.encode())
        except OSError:
            self.shared_status.clear_running()
            self._reap(0)
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for at most *seconds*. Return whether it is idle again or has ended."""
        with suppress(EOFError, OSError):
            if self._pipe.poll(seconds):
                self._pipe.recv_bytes()
                return True
            # A program that a task started may still hold the pipe open
            return self._reap(os.WNOHANG)
        return self._reap(0)

    def stop_after_task(self) -> None:
        """Ask it to release its run after the current task. Do not signal programs that its task has started."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Kill it and the programs in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, sig)
        # A task may have moved it to another group
        with suppress(ProcessLookupError):
            os.kill(self.pid, sig)

    def end_after_run(self) -> None:
        """Let it end after the current run, and do not wait for that run."""
        self._pipe.close()
        if self.shared_status.running is None:
            self._reap(0)

    def _reap(self, options: int) -> bool:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            pid, status = self.pid, 0  # other code has already waited for it
        if pid:
            self.wait_status = status
            self._pipe.close()
        return bool(pid)


def _live(work: Work, pipe: Connection, shared_status: SharedStatus) -> None:
    exit_status = 1
    try:
        os.setpgrp()
        work(pipe, shared_status)
        exit_status = 0
    except BaseException:  # noqa: BLE001 - any error: the child must not go on in the worker's own stack
        logger.exception("work-horse failed")
    finally:
        console.flush()
        os._exit(exit_status)
