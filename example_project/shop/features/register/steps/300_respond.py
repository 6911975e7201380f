from django.http import JsonResponse

from numflow_django import Context


def respond(ctx: Context) -> JsonResponse:
    """Respond 201."""
    return JsonResponse({"id": ctx.user.pk, "username": ctx.user.username}, status=201)
