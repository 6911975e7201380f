from tests.faults.site.work import work


def alpha(ctx):
    return work(ctx)
