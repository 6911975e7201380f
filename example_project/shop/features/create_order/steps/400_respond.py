from django.http import JsonResponse

from numflow_django import Context


def respond(ctx: Context) -> JsonResponse:
    """Respond 201. Django sends the response after COMMIT."""
    order = ctx.order
    return JsonResponse({"id": order.pk, "status": order.status, "total": order.total}, status=201)
