from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _

from example_project.shop.models import Order
from numflow_django import Context, StepError


def ship_order(ctx: Context, request: HttpRequest) -> None:
    """Mark the order as shipped, or respond 404 or 409."""
    ctx.order = get_object_or_404(Order, pk=request.resolver_match.kwargs["order_id"])  # type: ignore[union-attr]
    # One UPDATE checks and changes the status: of two clicks, only one ships
    placed = Order.objects.filter(pk=ctx.order.pk, status=Order.Status.PLACED)
    if not placed.update(status=Order.Status.SHIPPED):
        raise StepError(_("The order has been shipped already."), status=409, code="shipped")
    ctx.who = str(request.user)
