"""What steps use of HTTP: the ``response`` parameter, ``request.data``, and the responses for errors."""

import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Self, SupportsIndex

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from ..context.json_data import walk
from ..exceptions import InvalidRequestData, ReservedKey, ResponseAlreadySent, StepError
from .body import checked, is_json, parse

#: Errors that the client caused; Django itself answers all but the first with these statuses.
CLIENT_ERRORS: Mapping[type[Exception], int] = {
    ValidationError: 400,
    Http404: 404,
    PermissionDenied: 403,
    SuspiciousOperation: 400,
    BadRequest: 400,
    MultiPartParserError: 400,
}


class FeatureResponse:
    """
    The third parameter of a step: a way to respond without building an HttpResponse.

    ``response.json({...}, status=201)``, ``response.status(400).json({...})``, ``response.send("text")``,
    ``response.redirect("/")``, ``response.render("page.html", {...})``. A second response raises ResponseAlreadySent.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.wanted_status: int | None = None  # for the response that follows
        self.http_response: HttpResponseBase | None = None

    @property
    def sent(self) -> bool:
        """Return whether a step has responded."""
        return self.http_response is not None

    def status(self, status: int) -> Self:
        """Set the status of the response that follows: ``response.status(404).json(...)``."""
        self.wanted_status = status
        return self

    def json(self, data: Any, status: int | None = None) -> HttpResponse:
        """Respond with *data* as JSON, in UTF-8."""
        return self._send(json_response(data, status or self.wanted_status or 200))

    def send(self, text: str | bytes, status: int | None = None) -> HttpResponse:
        """Respond with *text*, as HTML as Django does."""
        return self._send(HttpResponse(text, status=status or self.wanted_status or 200))

    def redirect(self, to: Any, *, permanent: bool = False) -> HttpResponse:
        """Respond with a redirect to a URL, a view's name or a model instance: 302, 301 or what was set before."""
        response = redirect(to, permanent=permanent)
        response.status_code = self.wanted_status or response.status_code
        return self._send(response)

    def render(self, template: str, data: Mapping[str, Any] | None = None, status: int | None = None) -> HttpResponse:
        """Respond with a rendered template."""
        return self._send(render(self._request, template, data, status=status or self.wanted_status or 200))

    def _send(self, response: HttpResponse) -> HttpResponse:
        if self.http_response is not None:
            raise ResponseAlreadySent("the step answers a second time; return after the first answer")
        self.http_response = response
        return response


def json_response(data: Any, status: int = 200) -> JsonResponse:
    """Return a JsonResponse that writes Korean as UTF-8 and accepts lists too."""
    try:
        return JsonResponse(data, status=status, safe=False, json_dumps_params={"ensure_ascii": False})
    except UnicodeEncodeError:
        # A lone surrogate, perhaps from another service's JSON, can only be written as an escape
        return JsonResponse(data, status=status, safe=False)


# request.data


class FeatureRequest(HttpRequest):
    """
    The second parameter of a step: Django's request, with ``data`` and ``params``.

    It is the same object that the middleware saw.
    """

    _params: Mapping[str, Any] = MappingProxyType({})

    @cached_property
    def data(self) -> Any:
        """Return the body, parsed on first use: a JSON object or array, or form data (QueryDict)."""
        return parse(self)

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """Return the route's parameters, converted: ``{"order_id": 3}``."""
        return checked(self._params)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # pickle finds a class by its name, and this class has the name of Django's
        plain = type(self).__mro__[2] if type(self) is not FeatureRequest else FeatureRequest
        return _restored, (plain,), self.__getstate__()


def with_data(request: HttpRequest, params: Mapping[str, Any] | None = None) -> FeatureRequest:
    """
    Make *request* a FeatureRequest and return it: the same object, for middleware and decorators that hold it.

    A request whose class has ``data`` (as Django REST Framework's) keeps its own.
    """
    if not hasattr(type(request), "data"):
        request.__class__ = _with_data(type(request))  # type: ignore[arg-type]
    if params is not None:
        setattr(request, "_params" if isinstance(request, FeatureRequest) else "params", params)
    return request  # type: ignore[return-value]


@lru_cache(maxsize=16)
def _with_data(cls: type[HttpRequest]) -> type[HttpRequest]:
    return type(cls.__name__, (FeatureRequest, cls), {"__module__": cls.__module__})


def _restored(plain: type[HttpRequest]) -> HttpRequest:
    cls = plain if issubclass(plain, FeatureRequest) else _with_data(plain)  # type: ignore[arg-type]
    return cls.__new__(cls)


UNREAD = object()


def given(request: Any) -> Any:
    """Return the body of *request* as the client sent it, or UNREAD if no code has read it yet."""
    known = vars(request)
    # Django REST Framework keeps its own data, and its class Empty until there is some
    data = known.get("data", known.get("_full_data", UNREAD))
    if isinstance(data, QueryDict):
        return data
    body = known.get("_body")
    if body is not None and is_json(request):
        try:
            return json.loads(body)  # not request.data, which the steps may have changed
        except (ValueError, RecursionError):
            return body.decode("utf-8", "replace")
    if data is UNREAD or isinstance(data, type):
        return known.get("_post") or UNREAD
    return data


# Responses for errors


def attributed(error: Exception, request: HttpRequest) -> Exception:
    """Return *error*, or InvalidRequestData if it is a ReservedKey and the client sent that key."""
    if not isinstance(error, ReservedKey) or not _is_sent(error.name, request):
        return error
    refusal = InvalidRequestData(_("reserved key %(key)s: choose another name") % {"key": repr(error.name)})
    refusal.__cause__ = error
    return refusal


def _is_sent(key: str | None, request: HttpRequest) -> bool:
    """Return whether the client sent *key*, at any depth."""
    sent = [given(request), request.GET]
    return any(isinstance(part, dict) and key in part for part in walk(sent))


def error_response(error: Exception, step: Mapping[str, Any] | None) -> JsonResponse | None:
    """Return the JSON response for an error that is meant for the client; None for every other error."""
    body = error_body(error, step)
    return None if body is None else json_response(body, body["error"]["status"])


def error_body(error: Exception, step: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the JSON data of :func:`error_response`; None for an error that is not meant for the client."""
    if isinstance(error, ValidationError):
        error = _from_validation_error(error)
    if not isinstance(error, StepError):
        return None
    body: dict[str, Any] = {"message": error.message, "status": error.status}
    if error.code is not None:
        body["code"] = error.code
    if error.details is not None:
        body["details"] = error.details
    if step is not None and not isinstance(error, InvalidRequestData):
        body["step"] = {"number": step["number"], "name": step["name"]}
    return {"error": body}


def _from_validation_error(error: ValidationError) -> StepError:
    if hasattr(error, "error_dict"):
        return StepError(_("validation failed"), code="invalid", details=error.message_dict)
    code = getattr(error, "code", None)
    if len(error.messages) == 1:
        return StepError(error.messages[0], code=code)
    return StepError(_("validation failed"), code=code or "invalid", details=error.messages)


def status_of(error: Exception) -> int:
    """Return the status for *error* if no hook handles it: the client's mistake (4xx) or ours (500)."""
    if isinstance(error, StepError):
        return error.status
    return next((status for kind, status in CLIENT_ERRORS.items() if isinstance(error, kind)), 500)


def describe(error: Exception) -> str:
    """Return *error* on one line. Its str() may raise, as a ValidationError's does if its params do not fit."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as failure:  # noqa: BLE001 - the error itself is what matters
        return f"{type(error).__name__} (its message cannot be shown: {type(failure).__name__}: {failure})"
