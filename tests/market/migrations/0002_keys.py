import uuid

import django.db.models.deletion
from django.db import connection, migrations, models

from tests.market.models import CASELESS


def collations():
    """The collation that PostgreSQL does not have by itself."""
    if connection.vendor == "postgresql":
        from django.contrib.postgres.operations import CreateCollation

        yield CreateCollation("caseless", provider="icu", locale="und-u-ks-level2", deterministic=False)


class Migration(migrations.Migration):
    dependencies = [("market", "0001_initial")]

    operations = [
        *collations(),
        migrations.CreateModel(
            name="Shipment",
            fields=[("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False))],
        ),
        migrations.CreateModel(
            name="Invoice",
            fields=[
                (
                    "shipment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="market.shipment",
                    ),
                )
            ],
        ),
        migrations.CreateModel(
            name="Day",
            fields=[("day", models.DateField(primary_key=True, serialize=False))],
        ),
        migrations.CreateModel(
            name="Coupon",
            fields=[
                (
                    "code",
                    models.CharField(db_collation=CASELESS, max_length=20, primary_key=True, serialize=False),
                )
            ],
        ),
        migrations.CreateModel(
            name="Shelf",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "row", "place", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("row", models.CharField(max_length=10)),
                ("place", models.IntegerField()),
            ],
        ),
    ]
