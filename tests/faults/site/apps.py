"""Installs the fault points, from outside: the package itself has none."""

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """The site's one app."""

    name = "tests.faults.site"
    label = "site"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Patch the edges."""
        from . import points

        points.install()
