from typing import Any

from django.utils.translation import get_language

from example_project.shop.forms import RegistrationForm, fill
from numflow_django import Context


def validate(ctx: Context, request: Any) -> None:
    """Read the registration, or respond 400."""
    # A key with "_" stays in this request: the password is never stored with the run
    ctx._form = fill(RegistrationForm, request.data)
    ctx.language = get_language()
