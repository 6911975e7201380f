from example_project.shop.models import Order, OrderItem
from numflow_django import Context


def create_order(ctx: Context) -> None:
    """Store the order and its items, at today's prices."""
    total = sum(line["product"].price * line["quantity"] for line in ctx.cart)
    ctx.order = Order.objects.create(email=ctx.email, language=ctx.language, total=total)
    OrderItem.objects.bulk_create(OrderItem(order=ctx.order, price=line["product"].price, **line) for line in ctx.cart)
