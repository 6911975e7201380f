from tests.faults.site.work import work


def epsilon(ctx):
    return work(ctx)
