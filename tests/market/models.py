"""A tiny shop, for the tests' features to write to."""

import uuid
from typing import Any

from django.db import connection, connections, models
from django.db.models.signals import pre_migrate
from django.dispatch import receiver

#: A collation that takes "a" and "A" for one; that of MariaDB does so by itself.
CASELESS = {"sqlite": "NOCASE", "postgresql": "caseless"}.get(connection.vendor)


@receiver(pre_migrate, dispatch_uid="tests.market")
def create_collation(using: str, **kwargs: Any) -> None:
    """Create the collation that PostgreSQL does not have, before the tables: also where no migrations are run."""
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(
                "CREATE COLLATION IF NOT EXISTS caseless"
                " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )


class Sale(models.Model):
    """Something was sold."""

    item = models.CharField(max_length=50)
    quantity = models.IntegerField(default=1)

    def __str__(self) -> str:
        return self.item


# Models with keys of other types


class Shipment(models.Model):
    """Something was sent; its number may be the client's own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.id)


class Invoice(models.Model):
    """What was sent is to be paid."""

    shipment = models.OneToOneField(Shipment, models.CASCADE, primary_key=True)

    def __str__(self) -> str:
        return str(self.pk)


class Day(models.Model):
    """A day on which the shop is open."""

    day = models.DateField(primary_key=True)

    def __str__(self) -> str:
        return str(self.day)


class Coupon(models.Model):
    """Something is cheaper; upper and lower case are one in its code."""

    code = models.CharField(primary_key=True, max_length=20, db_collation=CASELESS)

    def __str__(self) -> str:
        return self.code


class Shelf(models.Model):
    """A place in the shop."""

    pk = models.CompositePrimaryKey("row", "place")
    row = models.CharField(max_length=10)
    place = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.row}{self.place}"
