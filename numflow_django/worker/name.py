"""The name of a worker, which every run that it claims records."""

from django.core.management.base import CommandError

from ..db.lengths import WORKER_LENGTH


def check_name(name: str | None) -> None:
    """Raise CommandError for a name that the run row cannot hold; rqworker prints it without a traceback."""
    if name and (len(name) > WORKER_LENGTH or not name.isprintable()):
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        raise CommandError(
            f"The worker's name {shown!r} has {len(name)} characters; choose a --name of at most {WORKER_LENGTH}, "
            "without line breaks and other characters that cannot be printed."
        )
