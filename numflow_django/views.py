"""FeatureView: one HTTP request, from its decorators to the commit of its run."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import classonlymethod
from django.views import View

from .conf import conf
from .context import Context, Record
from .db.ids import new_run_id
from .discovery.attributes import FeatureAttributes, fixed_attribute_names
from .discovery.policy import Retry
from .discovery.registry import Feature, registry
from .exceptions import InvalidErrorHandlerResult, InvalidFeature, InvalidFeatures, InvalidStepResult
from .models import FeatureRun
from .outbox.record import StepLog, dispatch, record, record_rollback
from .request.http import attributed, describe, error_response, status_of, with_data
from .request.run_header import RUN_HEADER, note_failed_run
from .request.state import RequestState
from .request.steps import rendered, run_steps
from .request.trace import SILENT, Trace, tracing
from .request.transaction import commit_block, ensure_committable
from .text.tracebacks import traceback_of


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
        cls.feature = _with_mistakes(registry.register(cls), cls._problems(initkwargs))
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
        return self._handle(with_data(request, kwargs))

    def _allowed_methods(self) -> list[str]:
        if self.method is None:
            return [name.upper() for name in self.http_method_names]
        method = self.method.upper()
        return [method, "HEAD", "OPTIONS"] if method == "GET" else [method, "OPTIONS"]

    # From request to response

    def _handle(self, request: HttpRequest) -> HttpResponseBase:
        ctx = Context(Record(new_run_id()))
        with tracing(self.feature, ctx, request) as trace:
            return trace.answered(self._pass(Attempt(trace=trace), ctx, request))

    def _pass(self, attempt: "Attempt", ctx: Context, request: HttpRequest) -> HttpResponseBase:
        try:
            self._initialize(ctx, request)
            attempt.trace.initialized()
        except Exception as error:  # noqa: BLE001 - on_error decides
            error.add_note(f"feature {self.feature.label}, initialize_context")
            answer = self._fail(attempt, error, ctx, request)
            assert answer is not None  # a Retry is refused before the first attempt
            return answer
        before = RequestState(request, can_retry=type(self).on_error is not FeatureView.on_error)
        while True:
            attempt = Attempt(number=attempt.number + 1, trace=attempt.trace, before=before)
            attempt.trace.begin(attempt)
            try:
                return self._attempt(attempt, ctx, request)
            except ErrorAnswer as refusal:
                before.undo_login()
                answer = refusal.answer()
                self._close(attempt, answer, None, ctx, request)
                return answer
            except Exception as error:
                if attempt.committed:
                    error.add_note("raised by an on_commit callback: the transaction stands, and its async tasks run")
                    if attempt.run:
                        note_failed_run(request, error, ctx.run_id)
                    raise
                if self.atomic:
                    before.undo_login()
                if attempt.failed_step is None:
                    error.add_note(f"feature {self.feature.label}, outside its steps")
                answer = self._fail(attempt, error, ctx, request)
            if answer is not None:
                return answer

    def _initialize(self, ctx: Context, request: HttpRequest) -> None:
        ctx._numflow.author = f"initialize_context of {self.feature.label}"
        returned: Any = self.initialize_context(ctx, request)  # type: ignore[func-returns-value]
        if returned is not None:
            raise InvalidStepResult(
                f"feature {self.feature.label}: initialize_context returned a {type(returned).__name__}, which answers "
                "nothing; store values on ctx, or raise a StepError to refuse the request"
            )

    def _attempt(self, attempt: "Attempt", ctx: Context, request: HttpRequest) -> HttpResponseBase:
        """Run the steps once. Raise ErrorAnswer for a 4xx or 5xx that rolls back."""
        feature = self.feature
        if not self.atomic:
            return self._run_steps(ctx, request, attempt)

        def after_commit() -> None:
            attempt.committed = True
            if attempt.run:
                dispatch(feature, attempt.run)

        with commit_block(self.using, after_commit):
            answer = self._run_steps(ctx, request, attempt)
            if answer.status_code >= 400 and self.rollback_on_error_response:
                raise ErrorAnswer(lambda: answer)
            ensure_committable(self.using)
            if feature.tasks and answer.status_code < 400:
                facts = _facts(request, answer.status_code) | {"created_by": _user_key(request)}
                attempt.run = record(feature, ctx, steps=attempt.log, request=facts)
                answer.headers[RUN_HEADER] = str(ctx.run_id)
        return answer

    def _fail(
        self, attempt: "Attempt", error: Exception, ctx: Context, request: HttpRequest
    ) -> HttpResponseBase | None:
        """Return the response of ``on_error``, or None for one more attempt. Raise the error if it has none."""
        error = attributed(error, request)
        attempt.trace.failed(attempt, error)
        try:
            verdict = self._verdict(attempt, error, ctx, request)
            attempt.trace.handled(verdict)
        except Exception as raised:  # noqa: BLE001 - its error takes the place of the one that it was asked about
            attempt.trace.handled(raised)
            verdict, error = None, raised
        if isinstance(verdict, Retry) and verdict.allows(attempt.number):
            time.sleep(verdict.delay)
            if attempt.before:
                attempt.before.restore()
            return None
        try:
            answer = verdict if isinstance(verdict, HttpResponseBase) else self._error_answer(error, attempt, request)
        except Exception as raised:  # noqa: BLE001 - an error's own details may fail too
            error, answer = raised, error_response(raised, attempt.failed_step)
        self._close(attempt, answer, error, ctx, request)
        if answer is None:
            raise error
        return answer

    def _verdict(
        self, attempt: "Attempt", error: Exception, ctx: Context, request: HttpRequest
    ) -> HttpResponseBase | Retry | None:
        ctx._numflow.author = f"on_error of {self.feature.label}"
        verdict = self.on_error(error, ctx, request)
        if verdict is not None and not isinstance(verdict, HttpResponseBase | Retry):
            raise InvalidErrorHandlerResult(
                f"feature {self.feature.label}: on_error returned a {type(verdict).__name__}; return an HttpResponse, "
                "a Retry or None"
            ) from error
        if isinstance(verdict, Retry) and not attempt.number:
            raise InvalidErrorHandlerResult(
                f"feature {self.feature.label}: on_error returned a Retry for an error of initialize_context, which "
                "runs once for a request; return an HttpResponse or None"
            ) from error
        return verdict

    def _close(
        self,
        attempt: "Attempt",
        answer: HttpResponseBase | None,
        error: Exception | None,
        ctx: Context,
        request: HttpRequest,
    ) -> None:
        """Log the rollback, if the settings want it logged."""
        status = answer.status_code if answer else self._status_of(error or Exception())
        ours = status >= 500 or (error is not None and self._status_of(error) >= 500)
        if self.atomic and (conf.LOG_ROLLBACKS == "all" or (conf.LOG_ROLLBACKS == "errors" and ours)):
            reason = describe(error) if error else f"answered {status}"
            facts = _facts(request, status)
            # The session's database may be what failed; then the row has no user
            with suppress(Exception):
                facts["created_by"] = _user_key(request)
            trace = traceback_of(error) if error else ""
            run = record_rollback(self.feature, ctx, steps=attempt.log, error=reason, traceback=trace, request=facts)
            if run and answer:
                answer.headers[RUN_HEADER] = str(ctx.run_id)
            elif run and error:
                note_failed_run(request, error, ctx.run_id)

    # What the views for forms and for Django REST Framework override

    @classmethod
    def _problems(cls, initkwargs: dict[str, Any]) -> Iterable[str]:
        """Called by as_view() with its arguments. Return what is wrong with the class itself, not with its folder."""
        return ()

    def _run_steps(self, ctx: Context, request: HttpRequest, attempt: "Attempt") -> HttpResponseBase:
        """Called for each attempt, inside its transaction. Return the response of the steps."""
        feature = self.feature
        return run_steps(feature.steps, feature.label, ctx, request, attempt.log, attempt.trace, self._render)

    def _render(self, answer: HttpResponseBase) -> HttpResponseBase:
        """Called with a step's response, inside that step. Return it rendered."""
        return rendered(answer)

    def _error_answer(self, error: Exception, attempt: "Attempt", request: HttpRequest) -> HttpResponseBase | None:
        """Called after the rollback with an error that ``on_error`` did not handle; None leaves it to Django."""
        return error_response(error, attempt.failed_step)

    def _status_of(self, error: Exception) -> int:
        """Return the status for *error*: the client's mistake (4xx) or ours (500)."""
        return status_of(error)


@dataclass
class Attempt:
    """The result of one execution of the steps."""

    number: int = 0  # from 1; 0: the steps have not begun
    log: StepLog = field(default_factory=list)
    run: FeatureRun | None = None  # once its row is written
    committed: bool = False
    trace: Trace = SILENT
    before: RequestState | None = None  # the request before the first attempt; None: no step has run yet

    @property
    def failed_step(self) -> dict[str, Any] | None:
        """Return the log entry of the step that raised, if one did."""
        return self.log[-1] if self.log and "error" in self.log[-1] else None


class ErrorAnswer(Exception):
    """A step answered 4xx or 5xx: raised so that the transaction rolls back as it does for an error."""

    def __init__(self, answer: Callable[[], HttpResponseBase]) -> None:
        self.answer = answer  # called after the rollback


def _with_mistakes(feature: Feature, problems: Iterable[str]) -> Feature:
    mistakes = [InvalidFeature(f"feature {feature.label}: {problem}") for problem in problems]
    for mistake in mistakes:
        registry.note(mistake)
    return replace(feature, mistakes=(*feature.mistakes, *mistakes))


def _facts(request: HttpRequest, status: int) -> dict[str, Any]:
    """Return what the run row keeps of the request."""
    return {"method": request.method or "", "path": request.path, "status_code": status, "created_by": ""}


def _user_key(request: HttpRequest) -> str:
    key = getattr(getattr(request, "user", None), "pk", None)
    return "" if key is None else str(key)
