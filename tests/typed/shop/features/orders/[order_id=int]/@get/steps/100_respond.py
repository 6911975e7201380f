from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404

from numflow_django import Context, FeatureRequest
from shop.models import Order


def respond(ctx: Context, request: FeatureRequest) -> HttpResponse:
    order = get_object_or_404(Order, pk=request.params["order_id"])
    return JsonResponse({"id": order.pk, "sku": order.sku})
