"""Masking of secrets, and capping, in whatever a person looks at."""

import re
from functools import lru_cache
from typing import Any

from .conf import conf

MASK = "********"


def is_secret(key: object) -> bool:
    """Whether *key* contains one of the words of ``NUMFLOW["REDACT"]``, in any case."""
    return isinstance(key, str) and _words(conf.REDACT).search(key) is not None


def mask(value: Any) -> Any:
    """A copy of a JSON value in which the values of secret keys are replaced, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if is_secret(key) else mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item) for item in value]
    return value


def plain(text: object, limit: int) -> str:
    """
    *text* as every database can hold it: no NUL, no lone surrogate, at most *limit* characters.

    The middle is what gives way: the end of an error says what happened, and its beginning where.
    """
    kept = str(text).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    kept = kept.encode("utf-8", "replace").decode("utf-8")
    if len(kept) <= limit:
        return kept
    head = limit // 4
    gap = " [...] "
    return kept[:head] + gap + kept[len(kept) - (limit - head - len(gap)) :]


def scrub(text: object, limit: int) -> str:
    """*text* made :func:`plain`, with what stands after a secret word and ``=`` or ``:`` masked."""
    return _assignments(conf.REDACT).sub(rf"\1{MASK}", plain(text, limit))


@lru_cache(maxsize=8)
def _words(words: tuple[str, ...]) -> re.Pattern[str]:
    # "(?!)" matches nothing: an empty list masks nothing
    return re.compile("|".join(map(re.escape, words)) or "(?!)", re.IGNORECASE)


@lru_cache(maxsize=8)
def _assignments(words: tuple[str, ...]) -> re.Pattern[str]:
    key = rf"[\w-]*(?:{_words(words).pattern})[\w-]*"
    value = r"\"[^\"]*\"|'[^']*'|(?:(?:Bearer|Basic)\s+)?[^\s,;&\"'})]+"
    return re.compile(rf"({key}[\"']?\s*[=:]\s*)(?:{value})", re.IGNORECASE)
