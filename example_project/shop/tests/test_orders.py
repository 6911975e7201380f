"""The features of one order: api/orders/<id>/."""

import base64
import hashlib
import hmac
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from django.contrib.auth.models import User
from django.test import override_settings

from example_project.shop.models import Activity, Order
from example_project.shop.outside import Unreachable
from numflow_django.models import FeatureRun

from . import ShopTestCase


class ShowOrderTests(ShopTestCase):
    """GET api/orders/<id>/."""

    def test_an_order(self) -> None:
        """The response has the status of the order, and nothing about the customer."""
        order = self.placed_order()

        answer = self.client.get(f"/api/orders/{order.pk}/")

        assert answer.status_code == 200
        assert answer.json() == {"id": order.pk, "status": "placed"}

    def test_no_such_order(self) -> None:
        """An unknown order is a 404."""
        assert self.client.get("/api/orders/0/").status_code == 404


class ShipOrderTests(ShopTestCase):
    """POST api/orders/<id>/shipment/."""

    def setUp(self) -> None:
        """Record the webhooks in a folder of this test."""
        super().setUp()
        self.webhooks = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(override_settings(SHOP_WEBHOOK_URL=self.webhooks.as_uri(), SHOP_WEBHOOK_SECRET="bears"))

    def ship(self, order: Order) -> Any:
        """Ship *order*."""
        return self.post(f"/api/orders/{order.pk}/shipment/", {})

    def test_the_staff_ship_an_order(self) -> None:
        """The order is marked as shipped."""
        self.log_in_as_staff()
        order = self.placed_order()

        answer = self.ship(order)

        order.refresh_from_db()
        assert answer.status_code == 200
        assert answer.json() == {"id": order.pk, "status": "shipped"}
        assert order.status == Order.Status.SHIPPED

    def test_shipped_twice(self) -> None:
        """The second time is a 409 in the user's language, and no webhook is sent again."""
        self.log_in_as_staff()
        order = self.placed_order()
        self.ship(order)

        answer = self.post(f"/api/orders/{order.pk}/shipment/", {}, language="ko")

        assert answer.status_code == 409
        assert answer.json()["error"]["message"] == "이미 발송된 주문입니다."
        assert FeatureRun.objects.count() == 1

    def test_customers_may_not(self) -> None:
        """Without the permission it is a 403, and nothing is changed."""
        self.client.force_login(User.objects.create_user("minji"))
        order = self.placed_order()

        assert self.ship(order).status_code == 403

        order.refresh_from_db()
        assert order.status == Order.Status.PLACED

    def test_the_webhook(self) -> None:
        """A23: Signed webhooks: the subscriber can verify that the message is ours, complete, and not repeated."""
        self.log_in_as_staff()
        order = self.placed_order()

        run = self.run_tasks(self.ship(order))

        request = json.loads(next(self.webhooks.iterdir()).read_text())
        headers, body = request["headers"], json.dumps(request["body"], ensure_ascii=False).encode()
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(b"bears", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
        assert headers["webhook-id"] == f"{run.pk}:send_webhook"
        assert request["body"] == {"type": "order.shipped", "data": {"id": order.pk, "total": 36_000}}

    def test_the_subscriber_is_away(self) -> None:
        """A23: Signed webhooks: the second try has the same id, and the following tasks wait for it."""
        self.log_in_as_staff()
        answer = self.ship(self.placed_order())

        with mock.patch("example_project.shop.webhooks.post", side_effect=[Unreachable("503"), None]) as post:
            run = self.run_tasks(answer)
            assert (run.state, Activity.objects.count()) == ("waiting", 0)
            run = self.run_again(run)

        assert (run.state, Activity.objects.count()) == ("succeeded", 1)
        assert len({call.args[2]["webhook-id"] for call in post.call_args_list}) == 1

    def test_the_activity_log(self) -> None:
        """A23: Activity log: a row says who did what, exactly once."""
        self.log_in_as_staff()
        order = self.placed_order()

        self.run_tasks(self.ship(order))

        assert Activity.objects.values_list("who", "what").get() == ("sora", f"shipped order {order.pk}")
