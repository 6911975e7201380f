"""Counts the sales. Each function must count every order exactly once."""

from django.db.models import F
from django.utils.timezone import localdate

from .models import DailySales, Order, ProductSales


def count_day(order: Order) -> DailySales:
    """Add *order* to its day, and return the day with its new totals."""
    sales, _ = DailySales.objects.get_or_create(day=localdate(order.created_at))
    DailySales.objects.filter(pk=sales.pk).update(orders=F("orders") + 1, revenue=F("revenue") + order.total)
    sales.refresh_from_db()
    return sales


def count_products(order: Order) -> None:
    """Add the items of *order* to their products."""
    # All tasks count them in the same order, so that no two tasks wait for each other
    for item in order.items.order_by("product_id"):
        sales, _ = ProductSales.objects.get_or_create(product_id=item.product_id)
        added = {"pieces": F("pieces") + item.quantity, "revenue": F("revenue") + item.total}
        ProductSales.objects.filter(pk=sales.pk).update(**added)
