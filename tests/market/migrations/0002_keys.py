import uuid

import django.db.models.deletion
from django.db import migrations, models

from tests.market.models import CASELESS


class Migration(migrations.Migration):
    dependencies = [("market", "0001_initial")]

    operations = [
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
