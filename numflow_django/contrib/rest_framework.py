"""FeatureAPIView: a feature as a view of Django REST Framework. It needs the extra ``rest_framework``."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.transaction import get_connection
from django.http import HttpRequest, HttpResponseBase

from numflow_django.context import Context
from numflow_django.exceptions import InvalidFeatures
from numflow_django.request.attempt import Attempt
from numflow_django.request.body import checked
from numflow_django.request.http import error_body, with_data
from numflow_django.views import FeatureView

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

    _unhandled_error: Exception | None = None  # the error that Django handles

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

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # A feature's class has no handlers; APIView.dispatch and schema generators look for them on the view
        for method in set(self._allowed_methods()) - {"OPTIONS"}:
            setattr(self, method.lower(), self._respond)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer as Django REST Framework does, with the steps in place of the handler."""
        if self.feature.mistakes:
            raise InvalidFeatures(list(self.feature.mistakes))
        response: HttpResponseBase = APIView.dispatch(self, request, *args, **kwargs)
        return response

    def _respond(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return self.handle_feature(with_data(request, kwargs))
        except Exception as error:
            self._unhandled_error = error  # handle_exception() must raise it: EXCEPTION_HANDLER had its turn
            raise

    def handle_exception(self, exc: Exception) -> HttpResponseBase:
        """Return EXCEPTION_HANDLER's response; raise the error if it has none."""
        if exc is self._unhandled_error:
            raise exc
        connection = get_connection(self.using)
        needed_rollback = connection.in_atomic_block and connection.needs_rollback
        try:
            response: HttpResponseBase = super().handle_exception(exc)
        finally:
            # With ATOMIC_REQUESTS, Django REST Framework marks the open block for rollback. Ours is already closed:
            # that block belongs to a test or a decorator
            if connection.in_atomic_block:
                connection.set_rollback(needed_rollback)
        return response

    # Extension API of FeatureView

    @classmethod
    def class_problems(cls, initkwargs: dict[str, Any]) -> Iterator[str]:
        renderers = initkwargs.get("renderer_classes", cls.renderer_classes)
        if not apps.is_installed("rest_framework") and BrowsableAPIRenderer in renderers:
            yield (
                "its answers for browsers need the templates of Django REST Framework; add 'rest_framework' to "
                "INSTALLED_APPS, or set renderer_classes = [JSONRenderer]"
            )

    def run_feature_steps(self, ctx: Context, request: Request, attempt: Attempt) -> HttpResponseBase:
        checked(request.params)  # refuse a NUL; a FeatureRequest does so when they are first read
        if request.method in ("POST", "PUT", "PATCH") and self.get_serializer_class() is not None:
            instance = None if request.method == "POST" else self.get_object()
            # A new serializer for each attempt: what save() did to the last one was rolled back
            request.serializer = self.get_serializer(instance, data=request.data, partial=request.method == "PATCH")
            request.serializer.is_valid(raise_exception=True)
        return super().run_feature_steps(ctx, request, attempt)

    def render_step_response(self, response: HttpResponseBase) -> HttpResponseBase:
        if isinstance(response, Response):
            self.finalize_response(self.request, response)  # needed before it can be rendered
        return super().render_step_response(response)

    def unhandled_error_response(
        self, error: Exception, failed_step: Mapping[str, Any] | None, request: Request
    ) -> HttpResponseBase | None:
        if isinstance(error, DjangoValidationError):
            error = ValidationError(as_serializer_error(error))
        try:
            return self.handle_exception(error)
        except Exception as raised:
            if raised is not error:
                raise
        body = error_body(error, failed_step)
        return None if body is None else Response(body, status=body["error"]["status"])

    def status_for_error(self, error: Exception) -> int:
        return error.status_code if isinstance(error, APIException) else super().status_for_error(error)
