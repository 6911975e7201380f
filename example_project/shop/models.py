"""A small shop: its products, its orders, and the data that its async tasks store. Prices are in won."""

from django.db import models
from django.utils.translation import get_language


class Product(models.Model):
    """A product."""

    name = models.CharField(max_length=100)
    name_ko = models.CharField(max_length=100)
    price = models.PositiveIntegerField()
    stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name_ko if get_language() == "ko" else self.name


class Order(models.Model):
    """The order of one customer in one request."""

    class Status(models.TextChoices):
        """The progress of an order."""

        PLACED = "placed"
        SHIPPED = "shipped"

    email = models.EmailField()
    language = models.CharField(max_length=10)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLACED)
    total = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.pk} ({self.email})"


class OrderItem(models.Model):
    """One product of an order, at the price of that day."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="items")
    product = models.ForeignKey(Product, models.PROTECT)
    quantity = models.PositiveIntegerField()
    price = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.quantity} x {self.product}"

    @property
    def total(self) -> int:
        """Return price times quantity."""
        return self.price * self.quantity


class Notification(models.Model):
    """A line for the shop's staff."""

    key = models.CharField(max_length=200, unique=True)
    text = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.text


class DailySales(models.Model):
    """The sales of one day."""

    day = models.DateField(unique=True)
    orders = models.PositiveIntegerField(default=0)
    revenue = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "daily sales"

    def __str__(self) -> str:
        return str(self.day)


class ProductSales(models.Model):
    """The sales of one product."""

    product = models.OneToOneField(Product, models.CASCADE, related_name="sales")
    pieces = models.PositiveIntegerField(default=0)
    revenue = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "product sales"

    def __str__(self) -> str:
        return str(self.product)


class Activity(models.Model):
    """An action of a member of the staff."""

    who = models.CharField(max_length=150)
    what = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "activities"

    def __str__(self) -> str:
        return f"{self.who}: {self.what}"
