def respond(ctx, request, response):
    if ctx.item == "silence":
        return
    response.status(409 if ctx.item == "sold out" else 201).json({"id": ctx.sale.pk, "item": ctx.item})
