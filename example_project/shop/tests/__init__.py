"""The shop's tests: ``manage.py test example_project``. They need neither Redis nor a worker."""

from typing import Any
from uuid import UUID

from django.test import TestCase
from django.utils import translation

from example_project.shop.models import Product
from numflow_django import runner
from numflow_django.models import FeatureRun


class ShopTestCase(TestCase):
    """A shop with two products, and what a customer does in it."""

    tea: Product
    cup: Product

    @classmethod
    def setUpTestData(cls) -> None:
        """Stock the shop."""
        cls.tea = Product.objects.create(name="Green tea", name_ko="녹차", price=18_000, stock=3)
        cls.cup = Product.objects.create(name="Celadon cup", name_ko="청자 찻잔", price=35_000, stock=1)

    def setUp(self) -> None:
        """Begin in English: a request in Korean leaves its language to the thread."""
        translation.activate("en")

    def post(self, path: str, data: Any, language: str = "en") -> Any:
        """Post *data* as JSON and give the answer."""
        return self.client.post(path, data, content_type="application/json", headers={"accept-language": language})

    def run_tasks(self, answer: Any) -> FeatureRun:
        """Run the async tasks that the request has left for the worker; give their run."""
        run = runner.run(UUID(answer.headers["Numflow-Run"]), 1, worker="test")
        assert run is not None
        return run
