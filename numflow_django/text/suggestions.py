"""Names in messages: what an unknown name was meant to be, and long lists cut short."""

from collections.abc import Iterable
from difflib import get_close_matches


def one_of(name: object, known: Iterable[str]) -> str:
    """Name the one among *known* that *name* is a slip of, or all of them, to end a message with."""
    names = list(known)
    by_lower = {each.lower(): each for each in names}
    close = get_close_matches(str(name).lower(), by_lower, 1, 0.5)
    if close:
        return f"did you mean {by_lower[close[0]]!r}?"
    return f"use one of {', '.join(names)}" if names else "there is none"


def listed(names: list[str]) -> str:
    """Return *names* in a line, not more than five of them."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
