def mail(ctx):
    ctx.mailed = f"{ctx.sale.item} x {ctx.sale.quantity}"
    return {"to": "buyer@example.com"}
