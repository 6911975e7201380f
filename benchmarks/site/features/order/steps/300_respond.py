from django.http import JsonResponse


def respond(ctx):
    return JsonResponse({"id": ctx.order_id}, status=201)
