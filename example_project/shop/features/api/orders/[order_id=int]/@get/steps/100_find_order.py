from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from example_project.shop.models import Order
from numflow_django import Context


def find_order(ctx: Context, request: HttpRequest) -> None:
    """Find the order whose id is in the path, or respond 404."""
    ctx.order = get_object_or_404(Order, pk=request.resolver_match.kwargs["order_id"])  # type: ignore[union-attr]
