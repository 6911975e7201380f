"""
Signed webhooks, at ``settings.SHOP_WEBHOOK_URL``, signed with ``settings.SHOP_WEBHOOK_SECRET``.

Headers and signature are those of https://www.standardwebhooks.com, for which there are libraries.
"""

import base64
import hmac
import time
from typing import Any

from django.conf import settings

from .outside import post, to_json


def send_webhook(event: str, data: Any, *, key: str) -> None:
    """
    Send *event* to the subscriber. Raise Unreachable or Refused.

    *key* is the message's id, so that the receiver can ignore a message that it has received before.
    """
    body = to_json({"type": event, "data": data})
    timestamp = str(int(time.time()))
    signature = sign(key, timestamp, body, settings.SHOP_WEBHOOK_SECRET)
    headers = {"webhook-id": key, "webhook-timestamp": timestamp, "webhook-signature": signature}
    post(settings.SHOP_WEBHOOK_URL, body, headers)


def sign(key: str, timestamp: str, body: bytes, secret: str) -> str:
    """
    Return the signature of *body*.

    It includes the time, so that an old message cannot be sent again as a new one.
    """
    signed = f"{key}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()
