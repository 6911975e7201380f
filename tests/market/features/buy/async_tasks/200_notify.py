def notify(ctx):
    if ctx.item == "bad luck":
        raise ConnectionError("the gateway is down, password=hunter2")
    ctx.notified = True
