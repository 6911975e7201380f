from tests.faults.site.work import work


def after(ctx):
    return work(ctx)
