from typing import Any

from django.utils.translation import get_language

from example_project.shop.forms import ItemForm, OrderForm, fill
from numflow_django import Context


def validate(ctx: Context, request: Any) -> None:
    """Read the order, or respond 400."""
    order = fill(OrderForm, request.data).cleaned_data
    ctx.email = order["email"]
    ctx.language = get_language()
    ctx.cart = [fill(ItemForm, item).cleaned_data for item in order["items"]]
