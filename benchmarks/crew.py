"""The workers of one contestant, at work in one heat."""

import signal
from pathlib import Path

from benchmarks.contestants import CONTESTANTS
from tests.faults.processes import Supervisor, send, sessions

#: Sequences of a warm-up, for each worker, and milliseconds that their tasks wait, so that each worker gets some.
WARM_UP, WARM_UP_WAIT = 4, 20
#: Warm-ups until all workers must have done something.
WARM_UPS = 30
#: Seconds without any progress after which a heat has failed.
PATIENCE = 60


class Crew:
    """*count* workers of *contestant*, warm: each has done something."""

    def __init__(self, arena, contestant, database, count):
        self.arena, self.contestant, self.count = arena, contestant, count
        self.clerk, self.ledger = arena.clerk(database), arena.ledger
        kind = CONTESTANTS[contestant]
        self.is_single = kind.is_single
        self.supervisor = Supervisor(
            count if self.is_single else 1,
            [word.format(workers=count) for word in kind.command],
            environment=arena.environment(database) | kind.environment,
            log=arena.folder / f"{contestant}.log",
            restart=False,
        )

    def __enter__(self):
        try:
            self._warm_up()
        except BaseException:
            self.supervisor.end()
            raise
        return self

    def __exit__(self, *error):
        self.supervisor.end()

    def _warm_up(self):
        self.ledger.clear()
        asked = 0
        for _ in range(WARM_UPS):
            asked += len(self.clerk.fill(self.contestant, WARM_UP * self.count, WARM_UP_WAIT))
            if not self.ledger.wait(asked, PATIENCE):
                break
            if len({line.session if self.is_single else line.pid for line in self.ledger.lines()}) >= self.count:
                return
        raise RuntimeError(f"{self.contestant}: its workers do not start; {self.arena.log(self.contestant)}")

    def pause(self):
        """Let them all stand still, as if time did."""
        for pid in self.pids():
            send(pid, signal.SIGSTOP)

    def resume(self):
        """Let them all go on."""
        for pid in self.pids():
            send(pid, signal.SIGCONT)

    def pids(self):
        """Their processes, with all children."""
        return [pid for pid, session in sessions() if session in self.supervisor.sessions]

    def megabytes(self):
        """The memory of all processes, what they share counted once."""
        return sum(map(_pss, self.pids())) / 1024


def _pss(pid):
    """Kilobytes of a process: its own, and its share of what it shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # a work-horse that has just ended
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
