from django.http import HttpRequest, JsonResponse

from example_project.shop import catalogue
from numflow_django import Context


def look_into_the_cache(ctx: Context, request: HttpRequest) -> JsonResponse | None:
    """Respond from the cache. The steps after a response do not run."""
    products = catalogue.cached()
    return None if products is None else JsonResponse({"products": products})
