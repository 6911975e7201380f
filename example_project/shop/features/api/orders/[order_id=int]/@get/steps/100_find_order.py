from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from example_project.shop.models import Order
from numflow_django import Context


def find_order(ctx: Context, request: HttpRequest) -> None:
    """Find the order that the path names, or answer 404."""
    ctx.order = get_object_or_404(Order, pk=request.resolver_match.kwargs["order_id"])  # type: ignore[union-attr]
