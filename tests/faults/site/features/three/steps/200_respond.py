def respond(ctx, request, response):
    response.status(201).json({"id": ctx.order.pk})
