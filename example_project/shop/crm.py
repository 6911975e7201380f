"""The sales department's customer register, at ``settings.SHOP_CRM_URL``."""

from django.conf import settings
from django.contrib.auth.models import User

from .outside import post, to_json


def sync_customer(user: User, *, key: str) -> None:
    """
    Send *user* to the register. Raise Unreachable or Refused.

    *key* is the same at every try, so that the register can distinguish a second try from a second customer.
    """
    customer = {"id": user.pk, "name": user.get_full_name() or user.username, "email": user.email}
    post(settings.SHOP_CRM_URL, to_json(customer), {"Idempotency-Key": key})
