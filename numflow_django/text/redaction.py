"""Masks secrets in texts and values for people, and limits their length."""

import re
from functools import lru_cache
from typing import Any

from ..conf import conf

MASK = "********"

_URL_PASSWORD = re.compile(r"(://[^\s/:@]*+:)[^\s/@]+(?=@)")


def is_secret(key: object) -> bool:
    """Return whether *key* contains one of the words of ``NUMFLOW["REDACT"]``; case does not matter."""
    return isinstance(key, str) and _words(conf.REDACT).search(key) is not None


def mask(value: Any) -> Any:
    """Return a copy of a JSON value with the values of secret keys replaced, at any depth."""
    if isinstance(value, dict):
        return {key: MASK if is_secret(key) else mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item) for item in value]
    return value


def plain(text: object, limit: int) -> str:
    """
    Return *text* so that every database can store it: no NUL, no lone surrogate, at most *limit* characters.

    We cut the middle: the end of an error says what happened, and its beginning where.
    """
    kept = str(text).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    kept = kept.encode("utf-8", "replace").decode("utf-8")
    if len(kept) <= limit:
        return kept
    head = limit // 4
    gap = " [...] "
    return kept[:head] + gap + kept[len(kept) - (limit - head - len(gap)) :]


def scrub(text: object, limit: int) -> str:
    """
    Return *text* as :func:`plain` does, and mask URLs' passwords and the values after a secret word and ``=`` or ``:``.
    """
    # Mask before the cut, which would leave halves of secrets; ten times the limit bounds the work
    masked = _assignments(conf.REDACT).sub(rf"\1{MASK}", plain(text, 10 * limit))
    return plain(_URL_PASSWORD.sub(rf"\1{MASK}", masked), limit)


@lru_cache(maxsize=8)
def _words(words: tuple[str, ...]) -> re.Pattern[str]:
    # api_key is X-Api-Key in HTTP and apiKey in JavaScript
    patterns = [re.escape(word).replace("_", "[-_]?") for word in words]
    # "(?!)" matches nothing: an empty list masks nothing
    return re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)


@lru_cache(maxsize=8)
def _assignments(words: tuple[str, ...]) -> re.Pattern[str]:
    # Atomic and possessive: a long word, such as a file in base64, must not take quadratic time
    key = rf"(?<![\w-])(?>[\w-]*?(?:{_words(words).pattern}))[\w-]*+"
    opening = r"(?:[\w.]+\(|[bfru]{1,2})?"  # b'...', SecretStr('...')
    quoted = r"(?:\"(?:\\.|[^\"\\\n])*+\"?|'(?:\\.|[^'\\\n])*+'?)"
    value = rf"(?:(?:Bearer|Basic|Digest|Token|ApiKey|JWT)\s+)?(?:{opening}{quoted}|[^\s,;&\"'}})]+)"
    return re.compile(rf"({key}\\*+[\"']?\s*+[=:]\s*+\\*+)(?:{value})", re.IGNORECASE)
