def publish(ctx):
    return {"mailed": ctx.mailed, "notified": ctx.get("notified", False)}
