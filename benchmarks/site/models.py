"""The site's tables."""

from django.db import models


class Order(models.Model):
    """What each request inserts."""

    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)


class BareRun(models.Model):
    """A sequence of the bare loops."""

    key = models.CharField(max_length=40)
    state = models.CharField(max_length=12, default="pending")

    class Meta:
        indexes = [models.Index(fields=["id"], name="bare_pending", condition=models.Q(state="pending"))]


class BareLog(models.Model):
    """What a bare loop writes for each task."""

    run_id = models.BigIntegerField()
    number = models.PositiveSmallIntegerField()
    finished_at = models.DateTimeField(auto_now_add=True)
