"""Handles one request of a feature: its attempts, their transactions, and the answers to their errors."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Protocol

from django.http import HttpRequest, HttpResponseBase

from ..conf import conf
from ..context import Context
from ..discovery.policy import Retry
from ..discovery.registry import Feature
from ..exceptions import InvalidErrorHandlerResult, InvalidStepResult
from ..outbox.record import StepLog, enqueue_new_run, record, record_rollback
from ..text.tracebacks import traceback_of
from .attempt import Attempt, RollbackWithResponse
from .http import attributed, describe, error_response
from .run_columns import request_columns, user_key
from .run_header import RUN_HEADER, note_failed_run
from .state import RequestState
from .trace import Trace
from .transaction import commit_block, ensure_committable


class FeatureHooks(Protocol):
    """The attributes, hooks and extension methods of FeatureView that are used here; they are described there."""

    feature: ClassVar[Feature]
    rollback_on_error_response: bool

    def initialize_context(self, ctx: Any, request: Any) -> None: ...

    def on_error(self, error: Exception, ctx: Any, request: Any) -> HttpResponseBase | Retry | None: ...

    def run_feature_steps(self, ctx: Context, request: HttpRequest, attempt: Attempt) -> HttpResponseBase: ...

    def unhandled_error_response(
        self, error: Exception, failed_step: Mapping[str, Any] | None, request: HttpRequest
    ) -> HttpResponseBase | None: ...

    def status_for_error(self, error: Exception) -> int: ...


@dataclass(frozen=True)
class Decision:
    """The result of ``on_error``."""

    returned: HttpResponseBase | Retry | None
    error: Exception  # the error that it was called with, or the one that it raised


class RequestHandling:
    """One request: ``initialize_context``, then attempts until one has a response."""

    def __init__(self, view: FeatureHooks, ctx: Context, request: HttpRequest, trace: Trace) -> None:
        self.view = view
        self.feature = view.feature
        self.ctx = ctx
        self.request = request
        self.trace = trace

    def handle(self, *, has_on_error: bool) -> HttpResponseBase:
        """Return the response. *has_on_error*: whether the view has an ``on_error``, which may return a Retry."""
        try:
            self._initialize()
        except Exception as error:  # noqa: BLE001 - on_error decides
            error.add_note(f"feature {self.feature.label}, initialize_context")
            return self._error_response(self._decide(error, retry_allowed=False), None)
        before = RequestState(self.request, can_retry=has_on_error)
        numbers = count(1)
        while True:
            attempt = Attempt(next(numbers), self.trace.step)
            result = self._run(attempt, before)
            if isinstance(result, HttpResponseBase):
                return result
            time.sleep(result.delay)
            before.restore()

    def _initialize(self) -> None:
        self.ctx._numflow.author = f"initialize_context of {self.feature.label}"
        returned: Any = self.view.initialize_context(self.ctx, self.request)  # type: ignore[func-returns-value]
        if returned is not None:
            raise InvalidStepResult(
                f"feature {self.feature.label}: initialize_context returned a {type(returned).__name__}, which answers "
                "nothing; store values on ctx, or raise a StepError to refuse the request"
            )
        self.trace.initialized()

    # One attempt

    def _run(self, attempt: Attempt, before: RequestState) -> HttpResponseBase | Retry:
        """Return the response of one attempt, or the Retry that asks for another one."""
        self.trace.begin(attempt)
        try:
            return self._run_steps(attempt)
        except RollbackWithResponse as rollback:
            before.undo_login()
            response = rollback.make_response()
            self._log_rollback(attempt.log, response, None)
            return response
        except Exception as error:
            if attempt.committed:
                error.add_note("raised by an on_commit callback: the transaction stands, and its async tasks run")
                if attempt.run:
                    note_failed_run(self.request, error, self.ctx.run_id)
                raise
            if self.feature.atomic:
                before.undo_login()
            if attempt.failed_step is None:
                error.add_note(f"feature {self.feature.label}, outside its steps")
            decision = self._decide(error, retry_allowed=True)
            if isinstance(decision.returned, Retry) and decision.returned.allows(attempt.number):
                return decision.returned
            return self._error_response(decision, attempt)

    def _run_steps(self, attempt: Attempt) -> HttpResponseBase:
        """Run the steps, in a transaction if the feature has one, and write the run row."""
        if not self.feature.atomic:
            return self.view.run_feature_steps(self.ctx, self.request, attempt)

        def after_commit() -> None:
            attempt.committed = True
            if attempt.run:
                enqueue_new_run(self.feature, attempt.run)

        with commit_block(self.feature.using, after_commit):
            response = self.view.run_feature_steps(self.ctx, self.request, attempt)
            if response.status_code >= 400 and self.view.rollback_on_error_response:
                raise RollbackWithResponse(lambda: response)
            ensure_committable(self.feature.using)
            if self.feature.tasks and response.status_code < 400:
                facts = request_columns(self.request, response.status_code) | {"created_by": user_key(self.request)}
                attempt.run = record(self.feature, self.ctx, steps=attempt.log, request=facts)
                response.headers[RUN_HEADER] = str(self.ctx.run_id)
        return response

    # Errors

    def _decide(self, error: Exception, *, retry_allowed: bool) -> Decision:
        """Ask ``on_error`` about *error*, after the rollback."""
        error = attributed(error, self.request)
        self.trace.failed(error)
        try:
            returned = self._call_on_error(error, retry_allowed=retry_allowed)
            self.trace.handled(returned)
        except Exception as raised:  # noqa: BLE001 - it takes the place of the error that on_error was called with
            self.trace.handled(raised)
            return Decision(None, raised)
        return Decision(returned, error)

    def _call_on_error(self, error: Exception, *, retry_allowed: bool) -> HttpResponseBase | Retry | None:
        self.ctx._numflow.author = f"on_error of {self.feature.label}"
        returned = self.view.on_error(error, self.ctx, self.request)
        if returned is not None and not isinstance(returned, HttpResponseBase | Retry):
            raise InvalidErrorHandlerResult(
                f"feature {self.feature.label}: on_error returned a {type(returned).__name__}; return an HttpResponse, "
                "a Retry or None"
            ) from error
        if isinstance(returned, Retry) and not retry_allowed:
            raise InvalidErrorHandlerResult(
                f"feature {self.feature.label}: on_error returned a Retry for an error of initialize_context, which "
                "runs once for a request; return an HttpResponse or None"
            ) from error
        return returned

    def _error_response(self, decision: Decision, attempt: Attempt | None) -> HttpResponseBase:
        """
        Return the response of ``on_error``, or the view's own response to the error. Raise the error if it has none.

        *attempt* is None if the error was raised before the first attempt.
        """
        log, failed_step = (attempt.log, attempt.failed_step) if attempt else ([], None)
        error, response = decision.error, None
        try:
            if isinstance(decision.returned, HttpResponseBase):
                response = decision.returned
            else:
                response = self.view.unhandled_error_response(error, failed_step, self.request)
        except Exception as raised:  # noqa: BLE001 - an error's own details may fail too
            error, response = raised, error_response(raised, failed_step)
        self._log_rollback(log, response, error)
        if response is None:
            raise error
        return response

    def _log_rollback(self, log: StepLog, response: HttpResponseBase | None, error: Exception | None) -> None:
        """Write a row about the rollback, if ``NUMFLOW["LOG_ROLLBACKS"]`` asks for one."""
        status_of = self.view.status_for_error
        status = response.status_code if response else status_of(error or Exception())
        is_server_error = status >= 500 or (error is not None and status_of(error) >= 500)
        if not self.feature.atomic or not (
            conf.LOG_ROLLBACKS == "all" or (conf.LOG_ROLLBACKS == "errors" and is_server_error)
        ):
            return
        facts = request_columns(self.request, status)
        # The session's database may be what failed; then the row has no user
        with suppress(Exception):
            facts["created_by"] = user_key(self.request)
        run = record_rollback(
            self.feature,
            self.ctx,
            steps=log,
            error=describe(error) if error else f"answered {status}",
            traceback=traceback_of(error) if error else "",
            request=facts,
        )
        if run and response:
            response.headers[RUN_HEADER] = str(self.ctx.run_id)
        elif run and error:
            note_failed_run(self.request, error, self.ctx.run_id)
