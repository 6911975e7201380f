from django.utils.translation import gettext as _

from example_project.shop.models import Notification
from numflow_django import Context


def send_notification(ctx: Context) -> None:
    """Notify the staff once: a task may run again after a crash, but its key stays the same."""
    text = _("New order %(number)s: %(total)s won") % {"number": ctx.order.pk, "total": f"{ctx.order.total:,}"}
    Notification.objects.get_or_create(key=ctx.task.idempotency_key, defaults={"text": text})
