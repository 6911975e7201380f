from django.http import JsonResponse

from numflow_django import Context


def show_order(ctx: Context) -> JsonResponse:
    """Respond with the status of the order. A guessed number reveals nothing about the customer."""
    return JsonResponse({"id": ctx.order.pk, "status": ctx.order.status})
