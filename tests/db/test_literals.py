"""Which values our SQL holds as text."""

from enum import Enum, StrEnum

import pytest
from django.db import models
from django.utils.safestring import SafeString

from numflow_django.db import statements
from numflow_django.db.literals import LiteralChoices, literal_of
from numflow_django.db.sql import PARAMETER, shape_of
from numflow_django.models import ExecutionState, FeatureRun, RunState

QUOTE = "'; DROP TABLE numflow_django_featurerun; --"


class Plain(Enum):
    """An Enum of a site."""

    MAIL = QUOTE


class Text(StrEnum):
    """An Enum whose members are strings."""

    MAIL = QUOTE


class Choice(models.TextChoices):
    """Choices of a site's own model."""

    MAIL = QUOTE


class Quoted(str):
    """A str that is shown as something else."""

    __slots__ = ()

    def __str__(self):
        return QUOTE

    __repr__ = __format__ = __str__


FOREIGN = [Plain.MAIL, Text.MAIL, Choice.MAIL, Quoted("mail"), Quoted(""), SafeString(""), QUOTE, 0, 1, 1.0, b""]


@pytest.mark.parametrize(
    "value", FOREIGN, ids=[f"{type(value).__name__} {number}" for number, value in enumerate(FOREIGN)]
)
def test_what_is_not_ours_is_a_parameter(value):
    """A foreign Enum, a subclass of str, a text, a number: none of them becomes a part of the SQL."""
    parameters = []

    shape = shape_of({"queue": value}, parameters)

    assert literal_of(value) is None
    assert shape == (("queue", PARAMETER),)
    assert parameters == [value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (False, "FALSE"),
        ("", "''"),
        (RunState.ROLLED_BACK, "'rolled_back'"),
        (ExecutionState.LOST, "'lost'"),
    ],
)
def test_what_is_written_into_the_sql(value, text):
    """NULL, truth values, the empty string and our own states are literals."""
    assert literal_of(value) == text
    assert shape_of({"state": value}, []) == (("state", value),)


def test_our_choices_are_plain_words():
    """Choices whose value would need escaping cannot be made."""
    with pytest.raises(ValueError, match="is no plain word; its choices are written into SQL as they are"):

        class Bad(LiteralChoices):
            MAIL = QUOTE


@pytest.mark.django_db
@pytest.mark.parametrize("value", [Text.MAIL, Choice.MAIL], ids=["StrEnum", "TextChoices"])
def test_a_foreign_value_arrives_in_its_column(value):
    """A foreign Enum with a quote in it is stored as it is, and a guard finds it again."""
    run = FeatureRun.objects.create_run(wait=0, feature="market.buy", queue=value)

    is_moved = statements.advance(run, {"id": run.pk, "queue": value}, {"reason": value}, [])

    assert is_moved
    assert list(FeatureRun.objects.values_list("queue", "reason")) == [(QUOTE, QUOTE)]
