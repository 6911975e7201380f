from tests.market.models import Sale


def sell(ctx, request):
    ctx.sale = Sale.objects.create(item=ctx.item, quantity=request.data.get("quantity", 1))
    if ctx.item == "boom":
        raise RuntimeError("boom")
