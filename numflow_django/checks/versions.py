"""System checks of what is installed."""

from collections.abc import Iterator, Sequence
from typing import Any

import django
from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's name

#: The newest Django that our tests run on.
NEWEST_DJANGO = (6, 1)


@register("numflow")
def check_django(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Iterator[CheckMessage]:
    """numflow.W212: the installed Django is newer than the newest that is tested."""
    if django.VERSION[:2] > NEWEST_DJANGO:
        newest = ".".join(map(str, NEWEST_DJANGO))
        yield Warning(
            f"Django {django.get_version()} is newer than Django {newest}, the newest that this version of "
            "numflow_django is tested with.",
            hint="Upgrade numflow_django. If there is no newer version, run your own tests before you deploy.",
            id="numflow.W212",
        )
