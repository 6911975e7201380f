"""A fixture that the tests of the checks share."""

import pytest
from django.core.checks import run_checks


@pytest.fixture
def errors(settings):
    """The errors of the checks with the given NUMFLOW, as (id, message, hint)."""

    def check(**values):
        settings.NUMFLOW = values
        return [(error.id, error.msg, error.hint) for error in run_checks(tags=["numflow"])]

    return check
