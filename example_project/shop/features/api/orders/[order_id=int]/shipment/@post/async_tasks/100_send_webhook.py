from example_project.shop import webhooks
from example_project.shop.outside import Unreachable
from numflow_django import Context, async_task


@async_task(max_attempts=10, delay=30, retry_on=(Unreachable,), timeout=30)
def send_webhook(ctx: Context) -> None:
    """Notify the subscriber. The key is the same at every try, so that a repeated message can be ignored."""
    order = ctx.order
    webhooks.send_webhook("order.shipped", {"id": order.pk, "total": order.total}, key=ctx.task.idempotency_key)
