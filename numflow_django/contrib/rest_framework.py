"""FeatureAPIView: a feature as a view of Django REST Framework. It needs the extra ``rest_framework``."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.transaction import get_connection
from django.http import HttpRequest, HttpResponseBase

from numflow_django.context import Context
from numflow_django.exceptions import InvalidFeatures
from numflow_django.request.http import error_body, with_data
from numflow_django.views import Attempt, FeatureView

try:
    from rest_framework.exceptions import APIException, ValidationError
    from rest_framework.renderers import BrowsableAPIRenderer
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.serializers import BaseSerializer, Serializer, as_serializer_error
    from rest_framework.views import APIView
except ModuleNotFoundError as error:
    raise ImproperlyConfigured(
        "numflow_django.contrib.rest_framework needs Django REST Framework: "
        'pip install "numflow-django[rest_framework]"'
    ) from error


class FeatureAPIView(FeatureView, APIView):  # type: ignore[misc]
    """
    A FeatureView with Django REST Framework's authentication, permissions, throttles, parsers and renderers.

    With a ``serializer_class``, the body of a POST, PUT or PATCH is validated before the first step, which finds the
    serializer as ``request.serializer``. Exceptions of Django REST Framework roll back, and its
    EXCEPTION_HANDLER answers them, after ``on_error``. A step may return its Response.
    """

    serializer_class: type[BaseSerializer] | None = None  # for the body; None: no validation

    _let_go: Exception | None = None  # the error that goes on to Django

    # GenericAPIView's hooks

    def get_serializer_class(self) -> type[BaseSerializer] | None:
        """Return the serializer class for this request's body; None: no validation."""
        return self.serializer_class

    def get_serializer_context(self) -> dict[str, Any]:
        """Return the serializer's context: the request, the format and the view."""
        return {"request": self.request, "format": self.format_kwarg, "view": self}

    def get_serializer(self, *args: Any, **kwargs: Any) -> BaseSerializer:
        """Return the serializer for the request's body, for OPTIONS, or for a form of the browsable API."""
        kwargs.setdefault("context", self.get_serializer_context())
        # Without a class, use one without fields: Django REST Framework calls this method if it exists
        return (self.get_serializer_class() or Serializer)(*args, **kwargs)

    def get_object(self) -> Any:
        """Called for a PUT or PATCH, inside the transaction. Return the instance to change, or None."""
        return None

    # From request to response

    @classmethod
    def _problems(cls, initkwargs: dict[str, Any]) -> Iterator[str]:
        renderers = initkwargs.get("renderer_classes", cls.renderer_classes)
        if not apps.is_installed("rest_framework") and BrowsableAPIRenderer in renderers:
            yield (
                "its answers for browsers need the templates of Django REST Framework; add 'rest_framework' to "
                "INSTALLED_APPS, or set renderer_classes = [JSONRenderer]"
            )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # A feature's class has no handlers; APIView.dispatch and schema generators look for them on the view
        for method in set(self._allowed_methods()) - {"OPTIONS"}:
            setattr(self, method.lower(), self._respond)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer as Django REST Framework does, with the steps in place of the handler."""
        if self.feature.mistakes:
            raise InvalidFeatures(list(self.feature.mistakes))
        answer: HttpResponseBase = APIView.dispatch(self, request, *args, **kwargs)
        return answer

    def _respond(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return self._handle(with_data(request, kwargs))
        except Exception as error:
            self._let_go = error  # EXCEPTION_HANDLER must not see it: it had its turn, or we committed
            raise

    def _run_steps(self, ctx: Context, request: Request, attempt: Attempt) -> HttpResponseBase:
        if request.method in ("POST", "PUT", "PATCH") and self.get_serializer_class() is not None:
            instance = None if request.method == "POST" else self.get_object()
            # A new serializer for each attempt: what save() did to the last one was rolled back
            request.serializer = self.get_serializer(instance, data=request.data, partial=request.method == "PATCH")
            request.serializer.is_valid(raise_exception=True)
        return super()._run_steps(ctx, request, attempt)

    def _render(self, answer: HttpResponseBase) -> HttpResponseBase:
        if isinstance(answer, Response):
            self.finalize_response(self.request, answer)  # needed before it can be rendered
        return super()._render(answer)

    # Errors

    def handle_exception(self, exc: Exception) -> HttpResponseBase:
        """Return EXCEPTION_HANDLER's response; raise the error if it has none."""
        if exc is self._let_go:
            raise exc
        connection = get_connection(self.using)
        doomed = connection.in_atomic_block and connection.needs_rollback
        try:
            answer: HttpResponseBase = super().handle_exception(exc)
        finally:
            # With ATOMIC_REQUESTS, Django REST Framework marks the open block for rollback. Ours is already closed:
            # that block belongs to a test or a decorator
            if connection.in_atomic_block:
                connection.set_rollback(doomed)
        return answer

    def _error_answer(self, error: Exception, attempt: Attempt, request: Request) -> HttpResponseBase | None:
        if isinstance(error, DjangoValidationError):
            error = ValidationError(as_serializer_error(error))
        try:
            return self.handle_exception(error)
        except Exception as raised:
            if raised is not error:
                raise
        body = error_body(error, attempt.failed_step)
        return None if body is None else Response(body, status=body["error"]["status"])

    def _status_of(self, error: Exception) -> int:
        return error.status_code if isinstance(error, APIException) else super()._status_of(error)
