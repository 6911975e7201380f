"""The shop's own tables in the admin."""

# mypy: disable-error-code="type-arg"

from django.contrib import admin

from .models import Activity, DailySales, Notification, Order, OrderItem, Product, ProductSales


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """The products of the shop."""

    list_display = ["name", "name_ko", "price", "stock"]


class OrderItemInline(admin.TabularInline):
    """The products of one order."""

    model = OrderItem
    extra = 0


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """The orders."""

    list_display = ["id", "email", "status", "total", "created_at"]
    list_filter = ["status"]
    inlines = [OrderItemInline]


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    """The notifications to the staff."""

    list_display = ["text", "created_at"]


@admin.register(DailySales)
class DailySalesAdmin(admin.ModelAdmin):
    """The sales by day."""

    list_display = ["day", "orders", "revenue"]


@admin.register(ProductSales)
class ProductSalesAdmin(admin.ModelAdmin):
    """The sales by product."""

    list_display = ["product", "pieces", "revenue"]


@admin.register(Activity)
class ActivityAdmin(admin.ModelAdmin):
    """The actions of the staff."""

    list_display = ["who", "what", "created_at"]
