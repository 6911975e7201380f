"""The few values that our SQL holds as text; every other value is a parameter for the database driver."""

from typing import Any

from django.db import models


class LiteralChoices(models.TextChoices):
    """Choices of our own models. Each value is a plain word, so that it needs no escaping in SQL."""

    def __init__(self, value: str) -> None:
        if not (value.isascii() and value.isidentifier()):
            raise ValueError(f"{value!r} is no plain word; its choices are written into SQL as they are")


def literal_of(value: Any) -> str | None:
    """Return the SQL text of *value*: NULL, a truth value, an empty string or a LiteralChoices. Else return None."""
    kind = type(value)
    if value is None:
        return "NULL"
    if kind is bool:
        return "TRUE" if value else "FALSE"
    if kind is str:  # and no subclass, which may have a text of its own
        return None if value else "''"
    return f"'{value.value}'" if isinstance(value, LiteralChoices) else None
