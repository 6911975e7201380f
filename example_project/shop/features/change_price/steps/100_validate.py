from typing import Any

from django.shortcuts import get_object_or_404

from example_project.shop.forms import PriceForm, fill
from example_project.shop.models import Product
from numflow_django import Context


def validate(ctx: Context, request: Any) -> None:
    """Read the price or respond 400; find the product or respond 404."""
    ctx.price = fill(PriceForm, request.data).cleaned_data["price"]
    ctx.product = get_object_or_404(Product, pk=request.resolver_match.kwargs["product_id"])
