from example_project.shop.crm import sync_customer
from example_project.shop.outside import Unreachable
from numflow_django import Context, async_task


@async_task(max_attempts=8, delay=30, retry_on=(Unreachable,), timeout=30)
def sync_crm(ctx: Context) -> None:
    """Tell the sales department; its server may be away for a while, and a repeated try makes no second customer."""
    sync_customer(ctx.user, key=ctx.task.idempotency_key)
