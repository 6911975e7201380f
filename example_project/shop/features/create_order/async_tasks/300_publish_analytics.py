from django.db.models import F
from django.utils.timezone import localdate

from example_project.shop.models import DailySales
from numflow_django import Context, async_task


@async_task(atomic=True)
def publish_analytics(ctx: Context) -> dict[str, str | int]:
    """Count the order, exactly once: with ``atomic`` the count and the task's checkpoint commit together."""
    sales, _ = DailySales.objects.get_or_create(day=localdate(ctx.order.created_at))
    sales.orders = F("orders") + 1
    sales.revenue = F("revenue") + ctx.order.total
    sales.save()
    sales.refresh_from_db()
    return {"day": str(sales.day), "orders": sales.orders}
