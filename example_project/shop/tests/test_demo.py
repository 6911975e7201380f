"""The parts of the demo that need no other process."""

import re
import socket
from unittest import mock

from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.test import TestCase
from django.utils.timezone import localdate

from example_project.shop.demo import port
from example_project.shop.demo.order import Answer, example_order
from example_project.shop.demo.port import ANY, HOST, PortTaken, ports_to_try
from example_project.shop.demo.seed import seed
from example_project.shop.demo.tree import draw
from example_project.shop.models import Product
from numflow_django.models import FeatureRun
from numflow_django.testing import fail_task, run_pending

from . import ShopTestCase


class PortTests(TestCase):
    """The port of the web server."""

    def test_a_wish_that_cannot_be_met(self) -> None:
        """The error for a taken port names the port and the option."""
        with socket.create_server((HOST, 0)) as other:
            taken = other.getsockname()[1]

            with self.assertRaisesMessage(PortTaken, f"Port {taken} is not free") as caught:
                ports_to_try(taken)

        assert "--port" in str(caught.exception)

    def test_a_port_that_is_none(self) -> None:
        """The error for an invalid port is the same."""
        with self.assertRaisesMessage(PortTaken, "Port 70000 is not free"):
            ports_to_try(70_000)

    def test_without_a_wish(self) -> None:
        """If another program has port 8000, any free port is used."""
        with socket.create_server((HOST, 0)) as other, mock.patch.object(port, "FAMILIAR", other.getsockname()[1]):
            assert ports_to_try(None) == [ANY]

    def test_the_familiar_port(self) -> None:
        """Port 8000 is the first choice, but another program may take it before the server starts."""
        with mock.patch("socket.socket.bind"):
            assert ports_to_try(None) == [8000, ANY]


class SeedTests(TestCase):
    """The first data of the shop."""

    def test_seeding_twice(self) -> None:
        """Existing data stay: the stock of sold products is not filled up again."""
        seed()
        Product.objects.update(stock=7)
        seed()

        assert set(Product.objects.values_list("stock", flat=True)) == {7}
        assert sorted(User.objects.values_list("username", flat=True)) == ["alex", "demo", "minji"]

    def test_the_login(self) -> None:
        """The login opens the admin."""
        seed()

        assert self.client.login(username="demo", password="demo")
        assert self.client.get("/", follow=True).status_code == 200


class TreeTests(ShopTestCase):
    """The tree of a run."""

    def draw(self, run: FeatureRun) -> list[str]:
        """Return the tree's lines, without the times."""
        answer = Answer(status=201, text="{}", run_id=str(run.pk), milliseconds=12.34)
        return [re.sub(" +([0-9.]+ ms)? *", " ", line) for line in draw(run, answer, no_style()).splitlines()]

    def test_a_run_that_succeeded(self) -> None:
        """The tree has the request, its steps, COMMIT, and the tasks with their results."""
        run = self.run_tasks(self.post("/api/orders/", example_order()))

        assert self.draw(run) == [
            "POST /api/orders/ -> 201 the customer waited this long",
            "├─ step 100 validate ",
            "├─ step 200 check_stock ",
            "├─ step 300 create_order ",
            "├─ step 400 respond ",
            "├─ COMMIT the response is sent",
            '├─ task 100 send_email succeeded {"to": "minji@example.com"}',
            "├─ task 200 send_notification succeeded",
            f'└─ task 300 publish_analytics succeeded {{"day": "{localdate()}", "orders": 1}}',
        ]

    def test_a_run_whose_tasks_have_not_run(self) -> None:
        """The tree has tasks that have not run, too."""
        self.post("/api/orders/", example_order())

        assert self.draw(FeatureRun.objects.get())[-3:] == [
            "├─ task 100 send_email not run yet",
            "├─ task 200 send_notification not run yet",
            "└─ task 300 publish_analytics not run yet",
        ]

    def test_a_task_that_failed(self) -> None:
        """The tree has the error of a failed task, cut to the width of the line."""
        self.post("/api/orders/", example_order())
        refused = NotImplementedError("the mail server is down, and this message is very long")

        with fail_task("shop.create_order", "send_email", error=refused):
            [run] = run_pending()

        assert self.draw(run)[-3] == "├─ task 100 send_email failed: NotImplementedError: the mail ..."

    def test_the_width(self) -> None:
        """A line is at most 100 columns wide."""
        run = self.run_tasks(self.post("/api/orders/", example_order()))
        run.steps[0]["error"] = "an error " * 50

        answer = Answer(status=201, text="{}", run_id=str(run.pk), milliseconds=12_345.6)

        assert max(len(line) for line in draw(run, answer, no_style()).splitlines()) <= 100
