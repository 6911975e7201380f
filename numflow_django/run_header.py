"""The response header with the run's id; also in the answer to an error that nobody handled."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from django.core.signals import got_request_exception
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase
from django.urls import get_resolver, get_urlconf, set_urlconf

from .conf import conf

#: The response header that carries the run's id.
RUN_HEADER = "Numflow-Run"

#: Where a request keeps the id of the run that its error has left.
ATTRIBUTE = "_numflow_failed_run"


def note_failed_run(request: HttpRequest, error: Exception, run_id: UUID) -> None:
    """Let whoever sees *error*, which goes on to Django, find its run: in the traceback, and in the answer's header."""
    error.add_note(f"run {run_id}, in the admin among the runs")
    setattr(getattr(request, "_request", request), ATTRIBUTE, run_id)


class ErrorURLconf:
    """
    A URLconf with a handler for errors only: the site's own, whose answer gets the header.

    Django makes the answer to an unhandled error outside of the view, and asks the URLconf for the handler. A
    middleware could set the header too, but a site would have to install it.
    """

    urlpatterns = ()

    def __init__(self, urlconf: Any) -> None:
        self._urlconf = urlconf

    def handler500(self, request: HttpRequest) -> HttpResponseBase:
        set_urlconf(self._urlconf)
        answer: HttpResponseBase = get_resolver(self._urlconf).resolve_error_handler(500)(request)
        answer.headers[RUN_HEADER] = str(getattr(request, ATTRIBUTE))
        return answer


@lru_cache
def _error_urlconf(urlconf: Any) -> Any:
    # Django keeps a resolver for each URLconf that it has seen
    return ErrorURLconf(urlconf)


@receiver(got_request_exception, dispatch_uid="numflow_django.run_header")
def _answer_with_header(request: HttpRequest | None = None, **kwargs: Any) -> None:
    # While DEBUG is on, Django's own page shows the note on the error
    if not conf.debug and hasattr(request, ATTRIBUTE):
        set_urlconf(_error_urlconf(get_urlconf() or conf.root_urlconf))
