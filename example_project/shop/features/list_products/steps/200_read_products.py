from django.http import JsonResponse

from example_project.shop import catalogue
from numflow_django import Context


def read_products(ctx: Context) -> JsonResponse:
    """Respond from the database, and fill the cache for the next request."""
    return JsonResponse({"products": catalogue.store()})
