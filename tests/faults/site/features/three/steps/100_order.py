from tests.faults.site import points
from tests.faults.site.models import Order


def order(ctx, request):
    item = request.data["item"]
    points.asked[:] = [item]
    ctx.seconds = request.data.get("seconds", 0)
    ctx.lock = request.data.get("lock", False)
    ctx.order = Order.objects.create(item=item, run=ctx.run_id)
    points.reach("in-transaction", item)
