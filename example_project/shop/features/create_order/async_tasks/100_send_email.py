from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from numflow_django import Context, async_task


@async_task(max_attempts=5, retry_on=(OSError,), timeout=30)
def send_email(ctx: Context) -> dict[str, str]:
    """Thank the customer, in the language of the order."""
    order = ctx.order
    with translation.override(order.language):
        subject = _("Your order %(number)s") % {"number": order.pk}
        send_mail(subject, render_to_string("shop/mail/order.txt", {"order": order}), None, [order.email])
    return {"to": order.email}
