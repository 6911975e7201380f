from example_project.shop.models import Activity
from numflow_django import Context, async_task


@async_task(atomic=True)
def log_activity(ctx: Context) -> None:
    """Log who did it, exactly once: with ``atomic`` the row and the task's checkpoint commit together."""
    Activity.objects.create(who=ctx.who, what=f"shipped order {ctx.order.pk}")
