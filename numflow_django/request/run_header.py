"""Sets the response header with the run's id, also on the response to an unhandled error."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.urls import get_resolver, get_urlconf, set_urlconf

from ..conf import conf

#: The response header that carries the run's id.
RUN_HEADER = "Numflow-Run"

#: The request's attribute with the id of the run row that its error has left.
ATTRIBUTE = "_numflow_failed_run"


def note_failed_run(request: HttpRequest, error: Exception, run_id: UUID) -> None:
    """Name the run of *error*, which Django will handle, in the error's notes and in the response's header."""
    error.add_note(f"run {run_id}, in the admin among the runs")
    setattr(getattr(request, "_request", request), ATTRIBUTE, run_id)


class ErrorURLconf:
    """
    The site's URLconf with another ``handler500``, which calls the site's own and adds the header to its response.

    Django handles an unhandled error outside the view, with the ``handler500`` of the current URLconf. A middleware
    could set the header too, but a site would have to install it.
    """

    def __init__(self, urlconf: Any) -> None:
        self._urlconf = urlconf

    @property
    def urlpatterns(self) -> Any:
        """Return the site's patterns, for receivers of Django's signal that reverse() a URL."""
        return get_resolver(self._urlconf).url_patterns

    def handler500(self, request: HttpRequest) -> HttpResponseBase:
        set_urlconf(self._urlconf)
        response: HttpResponseBase = get_resolver(self._urlconf).resolve_error_handler(500)(request)
        response.headers[RUN_HEADER] = str(getattr(request, ATTRIBUTE))
        return response


@lru_cache
def _error_urlconf(urlconf: Any) -> Any:
    # One object for each URLconf, because Django caches a resolver for each object
    return ErrorURLconf(urlconf)


@receiver(got_request_exception, dispatch_uid="numflow_django.run_header")
def _set_header(request: HttpRequest | None = None, **kwargs: Any) -> None:
    # With DEBUG on, Django's own page shows the error's note; a propagated error never reaches handler500
    if not conf.debug and not conf.propagates_errors and hasattr(request, ATTRIBUTE):
        set_urlconf(_error_urlconf(get_urlconf() or conf.root_urlconf))
