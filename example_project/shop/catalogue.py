"""The list of products, cached because it is read far more often than it changes."""

from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils.translation import get_language

from .models import Product

#: Seconds. A request that read the old products may store them after the list was deleted, but at most for this time.
LIFETIME = 300


def cached() -> list[dict[str, Any]] | None:
    """Return the list in the request's language, if the cache has it."""
    products: list[dict[str, Any]] | None = cache.get(_key(get_language()))
    return products


def store() -> list[dict[str, Any]]:
    """Read the list from the database, put it into the cache, and return it."""
    products = [
        {"id": product.pk, "name": str(product), "price": product.price} for product in Product.objects.order_by("pk")
    ]
    cache.set(_key(get_language()), products, LIFETIME)
    return products


def drop() -> None:
    """Delete the list from the cache, in every language."""
    cache.delete_many([_key(language) for language, _ in settings.LANGUAGES])


def _key(language: str | None) -> str:
    return f"catalogue:{language}"
