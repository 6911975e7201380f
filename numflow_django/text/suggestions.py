"""Names in messages: the known name that a misspelt one probably means, and short versions of long lists."""

from collections.abc import Iterable
from difflib import get_close_matches

#: How similar a name must be, from 0 to 1, so that a message suggests it.
ALIKE = 0.5


def one_of(name: object, known: Iterable[str]) -> str:
    """Return the end of a message: the *known* name that *name* misspells, or all known names."""
    names = list(known)
    return did_you_mean(name, names, otherwise=f"use one of {', '.join(names)}" if names else "there is none")


def did_you_mean(name: object, known: Iterable[str], *, otherwise: str) -> str:
    """Return the end of a message: which of *known* the misspelt *name* may mean, or *otherwise* if none is similar."""
    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(str(name).lower(), by_lower, 1, ALIKE)
    return f"did you mean {by_lower[close[0]]!r}?" if close else otherwise


def listed(names: list[str]) -> str:
    """Return *names* in one line, at most five of them."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
