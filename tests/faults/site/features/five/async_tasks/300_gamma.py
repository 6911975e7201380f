from tests.faults.site.work import work


def gamma(ctx):
    return work(ctx)
