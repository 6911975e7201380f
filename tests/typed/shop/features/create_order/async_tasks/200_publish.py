from numflow_django import Context, Retry, async_task


@async_task
async def publish(ctx: Context) -> Retry | None:
    if ctx.task.attempt > 3:  # a plain Context takes and gives any key, unchecked
        return Retry(delay=60)
    ctx.published = f"{ctx.sku}: {ctx.total}"
    return None
