"""What the features write: no constraint hides a second execution."""

from django.db import models


class Order(models.Model):
    """The work of a request's steps."""

    item = models.CharField(max_length=50)
    run = models.UUIDField(null=True)

    def __str__(self) -> str:
        return self.item


class Effect(models.Model):
    """One row for each time that an ``atomic=True`` task took effect; no unique constraint."""

    run = models.UUIDField()
    task = models.CharField(max_length=50)

    def __str__(self) -> str:
        return f"{self.run} {self.task}"
