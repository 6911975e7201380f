from django.http import JsonResponse

from numflow_django import Context


def respond(ctx: Context) -> JsonResponse:
    """Respond 200."""
    return JsonResponse({"id": ctx.product.pk, "price": ctx.product.price})
