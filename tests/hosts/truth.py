"""The ground truth of all hosts: what their tasks wrote to each host's own disk."""

from collections import Counter

from tests.faults.ledger import Ledger


class Truth:
    """The lines of the tasks, host by host."""

    def __init__(self, folders):
        self.ledgers = {host: Ledger(folder) for host, folder in folders.items()}

    def lines(self, host=None, *, since=0.0):
        """The lines of one host or of all, in the order of time."""
        ledgers = self.ledgers.values() if host is None else [self.ledgers[host]]
        return sorted((line for ledger in ledgers for line in ledger.lines() if line.at > since), key=_time)

    def begun(self, host=None, *, since=0.0):
        """The lines of the beginnings."""
        return [line for line in self.lines(host, since=since) if line.what == "begin"]

    def under_way(self, host):
        """The beginnings on *host* that have no end yet."""
        ended = {(line.run, line.task, line.pid) for line in self.lines(host) if line.what == "end"}
        return [line for line in self.begun(host) if (line.run, line.task, line.pid) not in ended]

    def not_done(self, runs, tasks):
        """What was lost: the (run, task) that no host ever ended."""
        ended = {(line.run, line.task) for line in self.lines() if line.what == "end"}
        return {(run, task) for run in runs for task in tasks} - ended

    def out_of_order(self, tasks):
        """The (run, task) that began, for the first time, before the task before it had ended."""
        begun, ended, wrong = set(), {(line.run, None) for line in self.lines()}, []
        before = dict(zip(tasks, [None, *tasks], strict=False))
        for line in self.lines():
            key = line.run, line.task
            if line.what == "end":
                ended.add(key)
            elif key not in begun:
                begun.add(key)
                wrong += [key] if (line.run, before[line.task]) not in ended else []
        return wrong

    def repeated(self):
        """How often each (run, task) began beyond the first time."""
        return Counter((line.run, line.task) for line in self.begun()) - Counter(
            {(line.run, line.task) for line in self.begun()}
        )


def _time(line):
    return line.at
