from numflow_django import FeatureRequest, FeatureResponse
from shop.features.create_order.context import OrderContext


def respond(ctx: OrderContext, request: FeatureRequest, response: FeatureResponse) -> None:
    response.status(201).json({"id": ctx.order.pk, "run": str(ctx.run_id)})
