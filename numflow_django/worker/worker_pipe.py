"""The work-horse's end of the pipe to its worker."""

import os
from multiprocessing.connection import Connection

from ..db.connections import close_connections
from .work_horse import IDLE

#: Seconds without a run after which a work-horse closes its database connections.
IDLE_SECONDS = 10.0


class WorkerEnded(Exception):
    """The worker of this work-horse has ended."""


class WorkerPipe:
    """Receive jobs from the worker, and notice when it has ended."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._worker_pid = os.getppid()
        self.is_waiting = False

    @property
    def has_worker_ended(self) -> bool:
        """Return whether the worker has ended: then another process is the parent of this one."""
        return os.getppid() != self._worker_pid

    def receive(self) -> str:
        """Wait for a job and return its id. Raise WorkerEnded if the worker has ended."""
        self.is_waiting = True
        try:
            while not self._connection.poll(IDLE_SECONDS):
                close_connections()
                if self.has_worker_ended:
                    raise WorkerEnded
            job_id = self._connection.recv_bytes().decode()
        except EOFError as error:
            raise WorkerEnded from error
        self.is_waiting = False
        return job_id

    def report_idle(self) -> None:
        """Tell the worker that there is no job here."""
        self._connection.send_bytes(IDLE)
