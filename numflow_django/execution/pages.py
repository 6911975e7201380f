"""Read many runs in pages, until a deadline."""

from collections.abc import Iterator
from time import monotonic

from ..models import FeatureRun, FeatureRunQuerySet

#: Runs in one query and in one request to Redis.
PAGE = 200

#: Columns that are not needed to enqueue a run; the contexts of one page may take 50 MB.
LARGE = ("context", "steps")


def pages(runs: FeatureRunQuerySet, deadline: float, *, by: str = "available_at") -> Iterator[list[FeatureRun]]:
    """
    Yield the *runs* of one state in the order of the column *by*, one page for each query, until the *deadline*.

    State and column share an index, so the database does not read other runs. Each page begins after the last key and
    not at an offset, so that rows which cannot move do not hide the rows after them.
    """
    rest = runs
    while monotonic() < deadline:
        page = list(rest.order_by(by, "pk")[:PAGE])
        if page:
            rest = runs.after(by, getattr(page[-1], by), page[-1].pk)  # before the yield: the caller changes the rows
            yield page
        if len(page) < PAGE:
            return
