"""Supervise the work-horse of a worker."""

import signal

from ..db.connections import close_connections
from ..signals import logger
from .work_horse import Work, WorkHorse


class Supervisor:
    """Fork the work-horse that does *work*, send it jobs, kill it if it is stuck, and stop it."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._horse: WorkHorse | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the work-horse, or 0 if there is none."""
        horse = self._horse  # RQ asks in another thread
        return horse.pid if horse else 0

    def fork(self) -> WorkHorse:
        """Fork a work-horse. Close the database connections first, because a fork would share them."""
        close_connections()
        self.forget()
        self._horse = WorkHorse(self._work)
        return self._horse

    def send(self, job_id: str, limit: float) -> WorkHorse:
        """Send a job with its *limit* in seconds to the work-horse, or to a new one if that one has died while idle."""
        horse = self._horse or self.fork()
        while not horse.send(job_id, limit):
            horse = self.fork()
        return horse

    def kill_if_stuck(self) -> None:
        """Kill the work-horse if its job has exceeded its limit."""
        if (horse := self._horse) and (running := horse.shared_status.running) and running.is_overdue:
            logger.error("work-horse killed: job %s did not end when its time was up", running.job_id)
            horse.kill()

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Kill the work-horse, if there is one."""
        if horse := self._horse:
            horse.kill(sig)

    def stop_after_task(self) -> None:
        """Ask the work-horse to stop after the current task."""
        if self._horse:
            self._horse.stop_after_task()

    def end_after_run(self) -> None:
        """Let the work-horse end after the current run, and do not wait for that run."""
        if self._horse:
            self._horse.end_after_run()

    def forget(self) -> None:
        """Forget a work-horse that has ended: another process may get its process id."""
        self._horse = None
