"""The shop's tests: ``manage.py test example_project``. They need neither Redis nor a worker."""

from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import TestCase, override_settings
from django.utils import translation

from example_project.shop.models import Order, Product
from numflow_django.models import FeatureRun
from numflow_django.testing import run_pending


@override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
class ShopTestCase(TestCase):
    """A shop with two products, and the actions of its users."""

    tea: Product
    cup: Product

    @classmethod
    def setUpTestData(cls) -> None:
        """Stock the shop."""
        cls.tea = Product.objects.create(name="Green tea", name_ko="녹차", price=18_000, stock=3)
        cls.cup = Product.objects.create(name="Celadon cup", name_ko="청자 찻잔", price=35_000, stock=1)

    def setUp(self) -> None:
        """Begin in English, because a Korean request leaves its language in the thread."""
        translation.activate("en")
        cache.clear()

    def log_in_as_staff(self) -> None:
        """Log in as a superuser."""
        self.client.force_login(User.objects.create_superuser("sora"))

    def placed_order(self) -> Order:
        """Return an order that waits to be shipped."""
        return Order.objects.create(email="minji@example.com", language="en", total=36_000)

    def post(self, path: str, data: Any, language: str = "en") -> Any:
        """Post *data* as JSON and return the response."""
        return self.client.post(path, data, content_type="application/json", headers={"accept-language": language})

    def run_tasks(self, answer: Any) -> FeatureRun:
        """Run the async tasks of the request, and return their run."""
        run_pending()
        return FeatureRun.objects.get(pk=answer.headers["Numflow-Run"])

    def run_again(self, run: FeatureRun) -> FeatureRun:
        """Skip the wait of *run*, and run its next tasks."""
        run_pending(waiting=True)
        run.reread()
        return run
