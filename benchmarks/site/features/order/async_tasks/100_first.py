from benchmarks.site.work import perform


def first(ctx):
    perform(ctx.key, 0)
