"""Runs the steps of a feature on one context, one after another, until one of them has a response."""

from collections.abc import Callable, Sequence
from inspect import iscoroutine
from time import perf_counter
from typing import Any, cast

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponseBase

from ..context import Author, Context
from ..discovery.modules import Module
from ..exceptions import InvalidStepResult, MissingResponseError, ResponseAlreadySent
from .attempt import Attempt
from .http import FeatureResponse, describe


def rendered(response: Any) -> HttpResponseBase:
    """Render a TemplateResponse now: Django would do it after COMMIT, when a failure cannot roll back any more."""
    result: HttpResponseBase = response if getattr(response, "is_rendered", True) else response.render()
    return result


def run_steps(
    steps: Sequence[Module],
    feature: str,
    ctx: Context,
    request: HttpRequest,
    attempt: Attempt,
    render: Callable[[HttpResponseBase], HttpResponseBase] = rendered,
) -> HttpResponseBase:
    """
    Return the response of the first step that has one. Add each step to the log of *attempt*, also if it raises.

    *render* is called with what a step returns; its errors count as the step's.

    Every error keeps its type and gets a note that names feature, step and file. Raise MissingResponseError if no
    step has a response.
    """
    helper, record = FeatureResponse(request), ctx._numflow
    parameters = (), (ctx,), (ctx, request), (ctx, request, helper)
    for step in steps:
        record.author = Author("step", step, feature)
        started = perf_counter()
        try:
            returned = _call(step, parameters[step.arity])
            response = helper.http_response if returned is None else _response(step, returned, helper, render)
        except Exception as error:
            attempt.note_step(_entry(step, started) | {"error": describe(error)})
            error.add_note(f"feature {feature}, step {step} ({step.file})")
            raise
        attempt.note_step(_entry(step, started), response)
        if response is not None:
            return response
    raise MissingResponseError(
        f"Feature completed without sending a response. feature {feature}: let its last step, {steps[-1]} "
        f"({steps[-1].file}), return an HttpResponse or call response.json(...)"
    )


def _call(step: Module, parameters: tuple[Any, ...]) -> Any:
    # async_to_sync runs the step's queries on this thread's connection, inside the transaction
    return async_to_sync(step.function)(*parameters) if step.is_async else step.function(*parameters)


def _response(
    step: Module, returned: Any, helper: FeatureResponse, render: Callable[[HttpResponseBase], HttpResponseBase]
) -> HttpResponseBase:
    """Return the response of a step from what it *returned*. *helper* is the ``response`` that the step received."""
    if returned is helper.http_response:
        return cast("HttpResponseBase", returned)
    if iscoroutine(returned):
        returned.close()
        raise InvalidStepResult(
            f"step {step} ({step.file}) returned a coroutine, which is never awaited; use 'async def'"
        )
    if not isinstance(returned, HttpResponseBase):
        raise InvalidStepResult(
            f"step {step} ({step.file}) returned a {type(returned).__name__}, which is not a response; to answer with "
            "it, return JsonResponse(...) or call response.json(...); to hand it to the next step, store it on ctx"
        )
    if helper.sent:
        raise ResponseAlreadySent(f"step {step} ({step.file}) answered with response and returned another answer")
    if helper.wanted_status not in (None, returned.status_code):
        raise InvalidStepResult(
            f"step {step} ({step.file}) returned an answer with status {returned.status_code} after "
            f"response.status({helper.wanted_status}); answer with response, or give the returned answer its status"
        )
    return render(returned)


def _entry(step: Module, started: float) -> dict[str, Any]:
    return {"number": step.number, "name": step.name, "ms": round((perf_counter() - started) * 1000, 3)}
