"""The forms for the clients' data."""

from typing import Any, TypeVar

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from .models import Product

Form = TypeVar("Form", bound=forms.BaseForm)


def fill(form_class: type[Form], data: Any) -> Form:
    """Return the valid form, or raise ValidationError, which becomes a 400 in a step."""
    form = form_class(data if isinstance(data, dict) else {})
    if not form.is_valid():
        raise ValidationError(form.errors.as_data())
    return form


def is_short_list(value: Any) -> None:
    """Validate that *value* is a list of at most 50 items."""
    if not isinstance(value, list) or len(value) > 50:
        raise ValidationError(_("Send a list of at most 50 items."))


class OrderForm(forms.Form):
    """A new order."""

    email = forms.EmailField()
    items = forms.JSONField(validators=[is_short_list])


class ItemForm(forms.Form):
    """One of its items."""

    product = forms.ModelChoiceField(
        Product.objects.all(), error_messages={"invalid_choice": _("There is no such product.")}
    )
    quantity = forms.IntegerField(min_value=1, max_value=99)


class RegistrationForm(UserCreationForm):  # type: ignore[type-arg]
    """A new user. The password is sent twice, as in Django's own form."""

    email = forms.EmailField()

    class Meta(UserCreationForm.Meta):
        fields = ("username", "email")


class PriceForm(forms.Form):
    """A new price, in won."""

    price = forms.IntegerField(min_value=1, max_value=10**9)
