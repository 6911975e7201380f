from numflow_django import async_task
from tests.faults.site.work import work


@async_task(atomic=True)
def solo(ctx):
    return work(ctx, atomic=True)
