"""What was meant by a name that is not known."""

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
