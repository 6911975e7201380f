from django.core.mail import send_mail
from django.utils import translation
from django.utils.translation import gettext as _

from numflow_django import Context, async_task


@async_task(max_attempts=5, retry_on=(OSError,), timeout=30)
def send_welcome_mail(ctx: Context) -> dict[str, str]:
    """Welcome the new user, in the language of the registration."""
    user = ctx.user
    with translation.override(ctx.language):
        body = _("Hello %(name)s, your account is ready.") % {"name": user.username}
        send_mail(_("Welcome to the shop"), body, None, [user.email])
    return {"to": user.email}
