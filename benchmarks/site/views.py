"""The request by hand: one view that inserts the order, and the same view with each queue after COMMIT."""

import json

from django.db import transaction
from django.http import JsonResponse

from benchmarks.site.models import Order
from benchmarks.site.producers import VIEWS


def view_of(announce):
    """Give the view that inserts an order and calls *announce* with its key after COMMIT; None: with no queue."""

    def create_order(request):
        data = json.loads(request.body)
        if not data.get("sku") or data["quantity"] < 1:
            return JsonResponse({"error": "sku and quantity are required"}, status=400)
        with transaction.atomic():
            order = Order.objects.create(sku=data["sku"], quantity=data["quantity"])
            if announce is not None:
                transaction.on_commit(lambda: announce(f"0-{order.pk}"))
        return JsonResponse({"id": order.pk}, status=201)

    return create_order


VIEWS_BY_NAME = {name: view_of(announce) for name, announce in VIEWS.items()}
