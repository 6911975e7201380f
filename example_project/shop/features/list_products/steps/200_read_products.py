from django.http import JsonResponse

from example_project.shop import catalogue
from numflow_django import Context


def read_products(ctx: Context) -> JsonResponse:
    """Answer from the database, and spare the next one the way."""
    return JsonResponse({"products": catalogue.store()})
