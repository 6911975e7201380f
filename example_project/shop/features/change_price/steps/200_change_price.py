from numflow_django import Context


def change_price(ctx: Context) -> None:
    """Store the price."""
    ctx.product.price = ctx.price
    ctx.product.save(update_fields=["price"])
