from benchmarks.site.work import perform


def second(ctx):
    perform(ctx.key, 1)
