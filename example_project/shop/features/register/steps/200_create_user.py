from numflow_django import Context


def create_user(ctx: Context) -> None:
    """Store the user; Django hashes the password."""
    ctx.user = ctx._form.save()
