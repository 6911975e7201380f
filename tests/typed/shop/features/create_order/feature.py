"""POST api/orders/"""

from django.views.decorators.csrf import csrf_exempt

from numflow_django import FeatureRequest, FeatureView, Retry
from shop.features.create_order.context import OrderContext


class CreateOrder(FeatureView):
    """Buy: ``{"sku": "A-1"}``."""

    path = "api/orders/"
    method = "POST"
    decorators = [csrf_exempt]

    def initialize_context(self, ctx: OrderContext, request: FeatureRequest) -> None:
        """Begin with the first provider."""
        ctx.provider = "first"

    def on_error(self, error: Exception, ctx: OrderContext, request: FeatureRequest) -> Retry | None:
        """Go on with the second provider if the first is away."""
        if isinstance(error, ConnectionError) and ctx.provider == "first":
            ctx.provider = "second"
            return Retry(delay=0.1, max_attempts=2)
        return None
