"""Names in messages: what an unknown name was meant to be, and long lists cut short."""

from collections.abc import Iterable
from difflib import get_close_matches

# How much a name must resemble a known one to be taken for it, from 0 to 1

#: The name is certainly wrong, so a hint costs nothing.
WRONG_NAME = 0.5
#: The name begins as ours do, so it probably is one of them.
PROBABLE_NAME = 0.7
#: The name may be right. This much resemble each other two words of five letters with two letters swapped.
MISSPELT_NAME = 0.8
#: The name may well be another word, such as "automatic" beside "atomic".
NEARLY_SAME_NAME = 0.85


def closest(name: object, known: Iterable[str], likeness: float) -> str | None:
    """Return the name of *known* that *name* resembles most, in any case; None if none resembles it enough."""
    by_lower = {each.lower(): each for each in known}
    close = get_close_matches(str(name).lower(), by_lower, 1, likeness)
    return by_lower[close[0]] if close else None


def one_of(name: object, known: Iterable[str]) -> str:
    """Return the end of a message: the *known* name that *name* misspells, or all known names."""
    names = list(known)
    return did_you_mean(name, names, otherwise=f"use one of {', '.join(names)}" if names else "there is none")


def did_you_mean(name: object, known: Iterable[str], *, otherwise: str) -> str:
    """Return the end of a message: the *known* name that *name* may mean, or *otherwise* if none resembles it."""
    meant = closest(name, known, WRONG_NAME)
    return f"did you mean {meant!r}?" if meant else otherwise


def listed(names: list[str]) -> str:
    """Return *names* in a line, not more than five of them."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
