"""Sends one order to the shop, as a customer's program would."""

import json
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from example_project.shop.models import Product

from .port import HOST

PATH = "/api/orders/"
#: Seconds until the shop must answer.
TIMEOUT = 10


class OrderFailed(Exception):
    """The shop did not respond to the order, or refused it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The response of the shop."""

    status: int
    text: str
    run_id: str  # the id of the run
    milliseconds: float  # until the response arrived


def example_order() -> dict[str, Any]:
    """Return an order for one piece each of the two products with the most stock."""
    products = Product.objects.order_by("-stock", "pk")[:2]
    items = [{"product": product.pk, "quantity": 1} for product in products]
    return {"email": "minji@example.com", "items": items}


def send(order: dict[str, Any], port: int) -> Answer:
    """Post *order* and return the response. Raise OrderFailed if there is none, or if the shop refuses the order."""
    body = json.dumps(order)
    started = time.perf_counter()
    try:
        status, run_id, text = _post(body, port)
    except (OSError, HTTPException) as error:
        raise OrderFailed(f"The shop did not answer the order {body}: {error!r}") from error
    milliseconds = (time.perf_counter() - started) * 1000
    if run_id is None:
        raise OrderFailed(f"The shop answered the order {body} with {status}: {text[:1_000]}")
    return Answer(status=status, text=text, run_id=run_id, milliseconds=milliseconds)


def _post(body: str, port: int) -> tuple[int, str | None, str]:
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT)
    with closing(connection):
        connection.request("POST", PATH, body, {"Content-Type": "application/json", "Accept": "application/json"})
        response = connection.getresponse()
        return response.status, response.headers["Numflow-Run"], response.read().decode(errors="replace")
