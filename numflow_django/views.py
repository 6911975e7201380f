"""FeatureView: one HTTP request, from its decorators to the commit of its run."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View

from .context import Context, Record
from .db.ids import new_run_id
from .discovery.attributes import FeatureAttributes, fixed_attribute_names
from .discovery.policy import Retry
from .discovery.registry import Feature, registry
from .exceptions import InvalidFeature, InvalidFeatures
from .request.attempt import Attempt
from .request.handling import RequestHandling
from .request.http import error_response, status_of, with_data
from .request.steps import rendered, run_steps
from .request.trace import tracing


class FeatureView(FeatureAttributes, View):
    """
    One request: the numbered steps of its folder handle it in one transaction; its async tasks run after COMMIT.

    Subclass it in the ``feature.py`` of the feature's folder, or in any module, and route it with
    ``feature_urls()`` or ``as_view()``.
    """

    feature: ClassVar[Feature]  # set by as_view()

    # Hooks

    # Any: an override may name the context class of its own steps, and FeatureRequest

    def initialize_context(self, ctx: Any, request: Any) -> None:
        """Called once for a request, after the decorators and before the first step; not again on a retry."""

    def on_error(self, error: Exception, ctx: Any, request: Any) -> HttpResponseBase | Retry | None:
        """
        Called after the rollback when a step raised, no step answered, or the commit failed.

        Return a response; a Retry (all steps run again, in a new transaction, with the same context); or None, which
        leaves a StepError or ValidationError to a JSON response and every other error to Django.
        """
        return None

    # From URL to handler

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        """
        Return the view function, with the decorators around it.

        Registers the feature; ``manage.py check`` shows the mistakes in its folder. Raise TypeError for an attribute
        that must be set on the class.
        """
        fixed = sorted(fixed_attribute_names() & initkwargs.keys())
        if fixed:
            raise TypeError(
                f"{cls.__name__}.as_view({fixed[0]}=...): set {fixed[0]} on the class, where the worker sees it"
            )
        cls.feature = _with_problems(registry.register(cls), cls.class_problems(initkwargs))
        view = super().as_view(**initkwargs)
        # A feature with mistakes answers no request, and its decorators may be one of the mistakes
        for decorator in () if cls.feature.mistakes else reversed(cls.decorators):
            view = decorator(view)
        # No ATOMIC_REQUESTS, whose transaction would enclose the feature's own: the response to a failed COMMIT, a
        # new transaction for a retry and the log of a rollback have to be outside of any transaction
        return transaction.non_atomic_requests(using=cls.using)(view)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return the response of the steps; 405 for a method that is not the feature's."""
        if request.method == "OPTIONS" and self.method != "OPTIONS":
            return self.options(request, *args, **kwargs)
        if request.method not in self._allowed_methods():
            return self.http_method_not_allowed(request, *args, **kwargs)
        if self.feature.mistakes:
            raise InvalidFeatures(list(self.feature.mistakes))
        return self.handle_feature(with_data(request, kwargs))

    def _allowed_methods(self) -> list[str]:
        if self.method is None:
            return [name.upper() for name in self.http_method_names]
        method = self.method.upper()
        return [method, "HEAD", "OPTIONS"] if method == "GET" else [method, "OPTIONS"]

    # Extension API, for classes that adapt FeatureView to a framework, such as FeatureFormView and FeatureAPIView

    @classmethod
    def class_problems(cls, initkwargs: dict[str, Any]) -> Iterable[str]:
        """Called by as_view() with its arguments. Return what is wrong with the class itself, not with its folder."""
        return ()

    def handle_feature(self, request: HttpRequest) -> HttpResponseBase:
        """Called for each request with a method of the feature's, after the decorators. Return the response."""
        ctx = Context(Record(new_run_id()))
        has_on_error = type(self).on_error is not FeatureView.on_error
        with tracing(self.feature, ctx, request) as trace:
            return trace.responded(RequestHandling(self, ctx, request, trace).handle(has_on_error=has_on_error))

    def run_feature_steps(self, ctx: Context, request: HttpRequest, attempt: Attempt) -> HttpResponseBase:
        """
        Called for each attempt, inside its transaction. Return the response of the steps.

        Raise RollbackWithResponse to roll back and respond without ``on_error``.
        """
        return run_steps(self.feature.steps, self.feature.label, ctx, request, attempt, self.render_step_response)

    def render_step_response(self, response: HttpResponseBase) -> HttpResponseBase:
        """Called with a response that a step returned, inside that step. Return it rendered."""
        return rendered(response)

    def unhandled_error_response(
        self, error: Exception, failed_step: Mapping[str, Any] | None, request: HttpRequest
    ) -> HttpResponseBase | None:
        """
        Called after the rollback with an error that ``on_error`` did not handle. Return None to leave it to Django.

        *failed_step* is the log entry of the step that raised the error, or None.
        """
        return error_response(error, failed_step)

    def status_for_error(self, error: Exception) -> int:
        """Called after the rollback. Return the status for *error*: a mistake of the client (4xx) or ours (500)."""
        return status_of(error)


def _with_problems(feature: Feature, problems: Iterable[str]) -> Feature:
    """Return *feature* with *problems* of its class as mistakes, and note them in the registry."""
    mistakes = [InvalidFeature(f"feature {feature.label}: {problem}") for problem in problems]
    for mistake in mistakes:
        registry.note(mistake)
    return replace(feature, mistakes=(*feature.mistakes, *mistakes))
