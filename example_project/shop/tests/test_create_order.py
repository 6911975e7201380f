"""The feature create_order."""

from importlib import import_module
from typing import Any
from unittest import mock

from django.core import mail
from django.utils.timezone import localdate

from example_project.shop.models import DailySales, Notification, Order, Product, ProductSales
from numflow_django import Context, StepError
from numflow_django.testing import assert_no_runs, assert_run, fail_task, redis_down, run_pending, worker_dies_after

from . import ShopTestCase

check_stock = import_module("example_project.shop.features.create_order.steps.200_check_stock").check_stock


class CreateOrderTests(ShopTestCase):
    """POST api/orders/."""

    def order(self, *items: Any, language: str = "en") -> Any:
        """Order *items*: pairs of product and quantity."""
        lines = [{"product": product.pk, "quantity": quantity} for product, quantity in items]
        return self.post("/api/orders/", {"email": "minji@example.com", "items": lines}, language)

    def stock(self, product: Product) -> int:
        """Return the stock of *product*."""
        product.refresh_from_db()
        return product.stock

    def test_an_order_is_stored_and_taken_from_the_stock(self) -> None:
        """The customer gets 201 with the order, whose items have the prices of today."""
        answer = self.order((self.tea, 2), (self.cup, 1))

        order = Order.objects.get()
        assert answer.status_code == 201
        assert answer.json() == {"id": order.pk, "status": "placed", "total": 71_000}
        assert list(order.items.order_by("id").values_list("product", "quantity", "price")) == [
            (self.tea.pk, 2, 18_000),
            (self.cup.pk, 1, 35_000),
        ]
        assert (self.stock(self.tea), self.stock(self.cup)) == (1, 0)

    def test_what_follows_an_order(self) -> None:
        """The worker mails the customer, notifies the staff once and counts the sale."""
        run = self.run_tasks(self.order((self.tea, 2)))

        order = Order.objects.get()
        assert_run(run, tasks=["send_email", "send_notification", "publish_analytics"])
        assert [message.to for message in mail.outbox] == [["minji@example.com"]]
        assert mail.outbox[0].subject == f"Your order {order.pk}"
        assert "2 x Green tea: 36,000 won" in mail.outbox[0].body
        assert Notification.objects.get().text == f"New order {order.pk}: 36,000 won"
        assert DailySales.objects.values_list("day", "orders", "revenue").get() == (localdate(), 1, 36_000)

    def test_the_order_mail(self) -> None:
        """
        A23: An order mail: the customer gets the list of items, and the task is retried while the mail server is down.
        """
        answer = self.order((self.tea, 2))

        with fail_task("shop.create_order", "send_email", times=4, error=OSError("the mail server is down")):
            run = self.run_tasks(answer)
            assert_run(run, state="waiting", tasks=[])
            run_pending(waiting=True)

        assert_run(run, attempts={"send_email": 5, "send_notification": 1})
        assert mail.outbox[0].to == ["minji@example.com"]
        assert "2 x Green tea: 36,000 won" in mail.outbox[0].body

    def test_all_who_count_hear_of_the_order(self) -> None:
        """A23: Analytics fan out in one task: the day and each product are counted, all of them or none."""
        run = self.run_tasks(self.order((self.tea, 2), (self.cup, 1)))

        assert DailySales.objects.values_list("orders", "revenue").get() == (1, 71_000)
        assert set(ProductSales.objects.values_list("product", "pieces", "revenue")) == {
            (self.tea.pk, 2, 36_000),
            (self.cup.pk, 1, 35_000),
        }
        assert run.executions.get(name="publish_analytics").result == {"day": str(localdate()), "orders": 1}

    def test_a_count_that_fails_takes_the_others_back(self) -> None:
        """A23: Analytics: if the second count fails, the first one is rolled back."""
        answer = self.order((self.tea, 2))

        with mock.patch.object(DailySales.objects, "get_or_create", side_effect=RuntimeError("no")):
            run = self.run_tasks(answer)

        assert run.executions.get(name="publish_analytics").state == "failed"
        assert not ProductSales.objects.exists()

    def test_a_korean_order_gets_a_korean_mail(self) -> None:
        """The mail is in the language of the request, although the worker has no request."""
        self.run_tasks(self.order((self.cup, 1), language="ko"))

        assert mail.outbox[0].subject == f"주문 {Order.objects.get().pk}번이 접수되었습니다"
        assert "1 x 청자 찻잔: 35,000 원" in mail.outbox[0].body

    def test_a_mail_holds_names_as_they_are(self) -> None:
        """The mail is plain text, so nothing in it is escaped for HTML."""
        Product.objects.filter(pk=self.tea.pk).update(name="Tea & <honey>")

        self.run_tasks(self.order((self.tea, 1)))

        assert "1 x Tea & <honey>" in mail.outbox[0].body

    def test_two_orders_are_counted_on_one_day(self) -> None:
        """Two orders are added up in the row of the day."""
        for _ in range(2):
            self.run_tasks(self.order((self.tea, 1)))

        assert DailySales.objects.values_list("orders", "revenue").get() == (2, 36_000)

    @worker_dies_after("shop.create_order", "send_notification")
    @worker_dies_after("shop.create_order", "publish_analytics")
    def test_a_worker_that_dies(self) -> None:
        """The staff is notified once and the sale is counted once, although both tasks run twice."""
        run = self.run_tasks(self.order((self.tea, 2)))

        assert_run(run, attempts={"send_email": 1, "send_notification": 2, "publish_analytics": 2})
        assert Notification.objects.count() == 1
        assert DailySales.objects.values_list("orders", "revenue").get() == (1, 36_000)

    def test_redis_is_down(self) -> None:
        """The customer gets the same response, and the tasks run later."""
        with redis_down():
            answer = self.order((self.tea, 1))

        assert answer.status_code == 201
        self.run_tasks(answer)

    def test_sold_out(self) -> None:
        """With too little of one product the whole order is refused: 409, no task, and the stock is unchanged."""
        answer = self.order((self.tea, 1), (self.cup, 2))

        assert answer.status_code == 409
        assert answer.json()["error"] == {
            "message": "Sold out: Celadon cup",
            "status": 409,
            "code": "sold_out",
            "details": {"product": self.cup.pk},
            "step": {"number": 200, "name": "check_stock"},
        }
        assert (self.stock(self.tea), self.stock(self.cup)) == (3, 1)
        assert not Order.objects.exists()
        assert_no_runs()

    def test_messages_are_in_the_customers_language(self) -> None:
        """A Korean browser gets Korean messages."""
        answer = self.order((self.cup, 2), language="ko")

        assert answer.json()["error"]["message"] == "품절된 상품입니다: 청자 찻잔"

    def test_of_two_requests_for_the_last_piece_one_gets_it(self) -> None:
        """Both requests see the last piece in stock; the second one to take it is refused."""
        first, second = (Context(cart=[{"product": self.cup, "quantity": 1}]) for _ in range(2))

        check_stock(first)

        with self.assertRaisesMessage(StepError, "Sold out: Celadon cup"):
            check_stock(second)
        assert self.stock(self.cup) == 0

    def test_an_unknown_product(self) -> None:
        """An unknown product is a 400 that says so."""
        answer = self.post("/api/orders/", {"email": "a@example.com", "items": [{"product": 0, "quantity": 1}]})

        assert answer.status_code == 400
        assert answer.json()["error"]["details"] == {"product": ["There is no such product."]}

    def test_invalid_orders(self) -> None:
        """An invalid order is a 400 that names the field."""
        item = {"product": self.tea.pk, "quantity": 1}
        for data, field in [
            ({}, "email"),
            ([], "email"),
            ({"email": "minji", "items": [item]}, "email"),
            ({"email": "a@example.com"}, "items"),
            ({"email": "a@example.com", "items": []}, "items"),
            ({"email": "a@example.com", "items": item}, "items"),
            ({"email": "a@example.com", "items": [item] * 51}, "items"),
            ({"email": "a@example.com", "items": ["tea"]}, "product"),
            ({"email": "a@example.com", "items": [item | {"quantity": 0}]}, "quantity"),
            ({"email": "a@example.com", "items": [item | {"quantity": 1.5}]}, "quantity"),
            ({"email": "a@example.com", "items": [item | {"product": [1]}]}, "product"),
            ({"email": "a@example.com", "items": [item | {"product": 10**30}]}, "product"),
        ]:
            with self.subTest(data=data):
                answer = self.post("/api/orders/", data)

                assert answer.status_code == 400
                assert field in answer.json()["error"]["details"]
