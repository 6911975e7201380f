"""What a table costs that has grown."""

from benchmarks.measure import Measure, Target

EMPTY, GROWN = "empty table", "grown table"


class History(Measure):
    """The drain beside finished runs with their task log and pending ones that are not due, and on an empty table."""

    name = "history"
    title = "Drain with {scale.finished:,} finished and {scale.pending:,} pending runs, against an empty table"
    unit = "runs/s"
    contestants = (EMPTY, GROWN)
    targets = (Target(subject=GROWN, reference=EMPTY, at_least=0.9),)

    def prepare(self):
        """Fill the table, in a database of its own, unless another measure has."""
        if "history" not in self.arena.clerks:
            self.arena.clerk("history").populate(self.scale.finished, self.scale.pending)

    def once(self, contestant):
        """Drain in one of the two databases."""
        grown = contestant == GROWN
        database = "history" if grown else "postgres"
        return {contestant: self.arena.drain("ours", self.scale.runs, database=database, empty=not grown)}


class RelayTick(History):
    """A tick of the relay in the same tables, while nothing is due."""

    name = "relay"
    title = "Relay tick with {scale.finished:,} finished and {scale.pending:,} pending runs, against an empty table"
    unit = "ms"
    targets = (
        Target(subject=f"{GROWN}, first tick", reference=f"{EMPTY}, first tick", at_most=3),
        Target(subject=f"{GROWN}, later ticks", reference=f"{EMPTY}, later ticks", at_most=3),
    )

    def once(self, contestant):
        """Tick, in a process that has a relay of its own."""
        if contestant == EMPTY:
            self.arena.reset()
        self.arena.redis.client.flushall()
        times = self.arena.clerk("history" if contestant == GROWN else "postgres").ticks(self.scale.ticks)
        return {f"{contestant}, first tick": times["first"], f"{contestant}, later ticks": times["later"]}
