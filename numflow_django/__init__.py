"""
Feature-first requests for Django: one folder holds a request's numbered steps, another its background tasks.

::

    shop/features/create_order/
        feature.py                  class CreateOrder(FeatureView): path = "api/orders/"; method = "POST"
        steps/100_validate.py       def validate(ctx, request): ctx.sku = request.data["sku"]
        steps/200_create_order.py   def create_order(ctx): ctx.order = Order.objects.create(sku=ctx.sku)
        steps/300_respond.py        def respond(ctx): return JsonResponse({"id": ctx.order.pk}, status=201)
        async_tasks/100_send_email.py   def send_email(ctx): mail(ctx.order)

    urlpatterns = [path("", include(feature_urls("shop.features")))]

The steps run in number order inside one ``transaction.atomic``. When they all succeed, Django sends the response after
COMMIT, and an RQ worker (``manage.py rqworker``) runs the async tasks in order.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Context as Context
    from .discovery.policy import Retry as Retry
    from .discovery.policy import async_task as async_task
    from .exceptions import StepError as StepError
    from .forms import FeatureFormView as FeatureFormView
    from .outbox.start_run import start_run as start_run
    from .request.http import FeatureRequest as FeatureRequest
    from .request.http import FeatureResponse as FeatureResponse
    from .routing.patterns import feature_urls as feature_urls
    from .views import FeatureView as FeatureView

__version__ = "0.1.0"

_HOMES = {
    "Context": "context",
    "FeatureFormView": "forms",
    "FeatureRequest": "request.http",
    "FeatureResponse": "request.http",
    "FeatureView": "views",
    "Retry": "discovery.policy",
    "StepError": "exceptions",
    "async_task": "discovery.policy",
    "feature_urls": "routing.patterns",
    "start_run": "outbox.start_run",
}

__all__ = [
    "Context",
    "FeatureFormView",
    "FeatureRequest",
    "FeatureResponse",
    "FeatureView",
    "Retry",
    "StepError",
    "async_task",
    "feature_urls",
    "start_run",
]

if not TYPE_CHECKING:  # with a __getattr__, a type checker would accept every name

    def __getattr__(name: str) -> Any:
        # Lazy (PEP 562): Django imports this package before its apps are ready, and the names need models
        if name in _HOMES:
            return getattr(import_module(f".{_HOMES[name]}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
