from django.http import JsonResponse

from numflow_django import Context


def respond(ctx: Context) -> JsonResponse:
    """Answer 201; the answer leaves after COMMIT."""
    order = ctx.order
    return JsonResponse({"id": order.pk, "status": order.status, "total": order.total}, status=201)
