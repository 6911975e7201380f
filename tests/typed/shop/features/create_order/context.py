"""What the steps and tasks of an order share."""

from decimal import Decimal

from numflow_django import Context
from shop.models import Order


class OrderContext(Context):
    """The keys, for type checkers; at run time ctx is a plain Context."""

    sku: str
    provider: str
    total: Decimal
    order: Order
