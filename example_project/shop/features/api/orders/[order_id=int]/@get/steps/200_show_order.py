from django.http import JsonResponse

from numflow_django import Context


def show_order(ctx: Context) -> JsonResponse:
    """Answer how far the order is; whoever guesses a number learns nothing about the customer."""
    return JsonResponse({"id": ctx.order.pk, "status": ctx.order.status})
