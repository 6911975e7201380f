from django.http import JsonResponse

from numflow_django import Context


def confirm_shipment(ctx: Context) -> JsonResponse:
    """Respond 200."""
    return JsonResponse({"id": ctx.order.pk, "status": "shipped"})
