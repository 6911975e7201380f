from numflow_django import FeatureRequest, StepError
from shop.features.create_order.context import OrderContext


def validate(ctx: OrderContext, request: FeatureRequest) -> None:
    sku = request.data.get("sku")
    if not isinstance(sku, str):
        raise StepError("sku is required")
    ctx.sku = sku
