def notify(ctx):
    if ctx.item == "bad luck":
        raise ConnectionError("the gateway is away, password=hunter2")
    ctx.notified = True
