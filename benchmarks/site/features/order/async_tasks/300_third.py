from benchmarks.site.work import perform


def third(ctx):
    perform(ctx.key, 2)
