"""The products of the shop: api/products/."""

from typing import Any

from django.test import Client

from example_project.shop.models import Product
from numflow_django.models import FeatureRun

from . import ShopTestCase


class ListProductsTests(ShopTestCase):
    """GET api/products/."""

    def test_the_list(self) -> None:
        """The list has the names in the user's language, and the prices."""
        answer = self.client.get("/api/products/", headers={"accept-language": "ko"})

        assert answer.json() == {
            "products": [
                {"id": self.tea.pk, "name": "녹차", "price": 18_000},
                {"id": self.cup.pk, "name": "청자 찻잔", "price": 35_000},
            ]
        }

    def test_the_second_time(self) -> None:
        """The second list comes from the cache: the first step responds, without a query."""
        first = self.client.get("/api/products/").json()

        with self.assertNumQueries(0):
            second = self.client.get("/api/products/").json()

        assert first == second


class ChangePriceTests(ShopTestCase):
    """PATCH api/products/<id>/."""

    def change(self, product: Product, price: Any) -> Any:
        """Change the price of *product*."""
        return self.client.patch(f"/api/products/{product.pk}/", {"price": price}, content_type="application/json")

    def tea_price(self) -> int:
        """Return the price of the tea that customers see."""
        products: list[dict[str, int]] = Client().get("/api/products/").json()["products"]
        return products[0]["price"]

    def test_the_cache_is_invalidated(self) -> None:
        """A23: Cache invalidation: customers see the new price once the task has run, after COMMIT."""
        self.log_in_as_staff()
        assert self.tea_price() == 18_000

        answer = self.change(self.tea, 19_000)

        assert answer.json() == {"id": self.tea.pk, "price": 19_000}
        assert self.tea_price() == 18_000

        self.run_tasks(answer)

        assert self.tea_price() == 19_000

    def test_bad_prices(self) -> None:
        """An invalid price is a 400 that names the field."""
        self.log_in_as_staff()
        for price in (0, -1, "free", None, 10**30):
            with self.subTest(price=price):
                answer = self.change(self.tea, price)

                assert answer.status_code == 400
                assert "price" in answer.json()["error"]["details"]

    def test_no_such_product(self) -> None:
        """An unknown product is a 404."""
        self.log_in_as_staff()

        assert self.change(Product(pk=0), 1).status_code == 404

    def test_customers_may_not(self) -> None:
        """Without the permission it is a 403, and the price is unchanged."""
        assert self.change(self.tea, 1).status_code == 403

        self.tea.refresh_from_db()
        assert self.tea.price == 18_000
        assert not FeatureRun.objects.exists()
