from decimal import Decimal

from shop.features.create_order.context import OrderContext


async def price(ctx: OrderContext) -> None:
    if ctx.provider == "first":
        raise ConnectionError("the first provider is away")
    ctx.total = Decimal("9.90")
