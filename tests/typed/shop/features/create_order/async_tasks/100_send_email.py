from datetime import timedelta
from smtplib import SMTPException

from django.core.mail import send_mail

from numflow_django import async_task
from shop.features.create_order.context import OrderContext


@async_task(
    max_attempts=5,
    delay=10,
    factor=2,
    max_delay=timedelta(minutes=15),
    jitter=0.2,
    retry_on=(SMTPException, OSError),
    timeout=30,
    atomic=False,
    start_after=timedelta(0),
    stop_on_failure=False,
)
def send_email(ctx: OrderContext) -> dict[str, str]:
    send_mail("Thank you", f"Order {ctx.order.pk}: {ctx.total}", None, ["buyer@example.com"])
    return {"key": ctx.task.idempotency_key}
