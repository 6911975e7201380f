from example_project.shop.analytics import count_day, count_products
from numflow_django import Context, async_task


@async_task(atomic=True)
def publish_analytics(ctx: Context) -> dict[str, str | int]:
    """Update all counts exactly once: with ``atomic`` the counts and the task's checkpoint commit together."""
    count_products(ctx.order)
    sales = count_day(ctx.order)
    return {"day": str(sales.day), "orders": sales.orders}
