"""Draining a full queue."""

from benchmarks.contestants import CONTESTANTS
from benchmarks.measure import Measure, Target


class Drain(Measure):
    """Two worker processes, and as many sequences of three trivial tasks as there are runs."""

    name = "drain"
    title = "Drain of {scale.runs:,} sequences with 2 worker processes, PostgreSQL"
    unit = "sequences/s"
    contestants = tuple(CONTESTANTS)
    targets = (
        Target(subject="ours", reference="rq", at_least=5),
        Target(subject="ours", reference="huey", at_least=1),
        Target(subject="ours", reference="dramatiq", at_least=1),
    )
    database = "postgres"

    def once(self, contestant):
        """Drain once."""
        return {contestant: self.arena.drain(contestant, self.scale.runs, database=self.database)}


class DrainOnSqlite(Drain):
    """The same; the peers use no database, so that their figures are those above."""

    name = "drain-sqlite"
    title = "Drain of {scale.runs:,} sequences with 2 worker processes, SQLite"
    contestants = ("ours", "rq")
    targets = (Target(subject="ours", reference="rq", at_least=5),)
    database = "sqlite"
