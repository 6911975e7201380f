"""A tiny shop, for the tests' features to write to."""

from django.db import models


class Sale(models.Model):
    """Something was sold."""

    item = models.CharField(max_length=50)
    quantity = models.IntegerField(default=1)

    def __str__(self) -> str:
        return self.item
