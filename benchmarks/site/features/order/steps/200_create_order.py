from benchmarks.site.models import Order


def create_order(ctx, request):
    order = Order.objects.create(sku=request.data["sku"], quantity=request.data["quantity"])
    ctx.key = f"0-{order.pk}"
    ctx.order_id = order.pk
