from numflow_django import async_task
from tests.faults.site.work import work


@async_task(atomic=True)
def beta(ctx):
    return work(ctx, atomic=True)
