"""Times by the database's own clock, because the clocks of web and worker hosts differ."""

from functools import lru_cache

from ..conf import conf
from ..db.timestamps import Now

#: The database's clock, as an SQL expression.
NOW = Now()


def lease_end() -> Now:
    """Return the time at which a lease ends that begins now."""
    return _after(conf.LEASE_SECONDS)


@lru_cache(maxsize=8)
def _after(seconds: float) -> Now:
    # Cached, because a statement is looked up by its expressions
    return Now(seconds)
