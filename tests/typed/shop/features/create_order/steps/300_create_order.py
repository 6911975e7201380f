from shop.features.create_order.context import OrderContext
from shop.models import Order


def create_order(ctx: OrderContext) -> None:
    ctx.order = Order.objects.create(sku=ctx.sku, total=ctx.total)
