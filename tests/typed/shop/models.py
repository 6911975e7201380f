"""What the typed shop stores."""

from django.db import models


class Order(models.Model):
    """Somebody bought something."""

    sku = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=9, decimal_places=2)

    def __str__(self) -> str:
        return self.sku
