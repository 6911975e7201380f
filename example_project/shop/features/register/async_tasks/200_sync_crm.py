from example_project.shop.crm import sync_customer
from example_project.shop.outside import Unreachable
from numflow_django import Context, async_task


@async_task(max_attempts=8, delay=30, retry_on=(Unreachable,), timeout=30)
def sync_crm(ctx: Context) -> None:
    """Send the user to the sales department; its server may be down for a while, and a retry adds no duplicate."""
    sync_customer(ctx.user, key=ctx.task.idempotency_key)
