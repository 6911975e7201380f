"""FeatureFormView: a page with a form; a feature's steps handle a valid POST."""

from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import Model
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.generic.base import TemplateResponseMixin
from django.views.generic.edit import FormMixin

from .context import Context
from .exceptions import InvalidStepResult, MissingResponseError, StepError
from .request.attempt import Attempt, RollbackWithResponse
from .request.steps import rendered
from .views import FeatureView

#: The headers of htmx that decide between the page and a part of it.
HTMX_HEADERS = ("HX-Request", "HX-Boosted", "HX-History-Restore-Request")


class FeatureFormView(TemplateResponseMixin, FormMixin, FeatureView):  # type: ignore[type-arg]
    """
    A form: GET shows it, and a valid POST runs the steps, which find it as ``request.form``.

    Attributes and hooks are those of Django's FormView. An invalid form is shown again. If a step raises a
    ValidationError or StepError, the transaction rolls back and the form is shown with that error. If no step answers,
    ``form_valid`` does, inside the transaction: it redirects to ``success_url``.
    """

    method = None  # GET and POST; "POST": another page shows the form
    http_method_names = ["get", "head", "post", "options"]
    partial_template_name: str | None = None  # sent to htmx in place of the page
    invalid_status: int = 422  # of a form that is shown again

    _instance: Model | None = None  # a ModelForm's instance, as it was before the steps

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Return the response. For htmx, turn a redirect into a header: the browser itself would follow a redirect."""
        response = super().dispatch(request, *args, **kwargs)
        if self.partial_template_name:
            patch_vary_headers(response, HTMX_HEADERS)
            if self._is_partial and 300 <= response.status_code < 400 and "Location" in response.headers:
                response.headers["HX-Redirect"] = response.headers["Location"]
                del response.headers["Location"]
                response.status_code = 200
        return response

    @property
    def _is_partial(self) -> bool:
        # Boosted links and history restoration in htmx need the whole page
        asked, boosted, restoring = (self.request.headers.get(name) == "true" for name in HTMX_HEADERS)
        return asked and not boosted and not restoring

    # FormView's hooks

    def get_template_names(self) -> list[str]:
        """Return the template of the page, or of the part of it that htmx asks for."""
        if self.partial_template_name and self._is_partial:
            return [self.partial_template_name]
        return super().get_template_names()

    def form_valid(self, form: BaseForm) -> HttpResponse:
        """Called when no step answered, inside the transaction. Raise MissingResponseError without a success_url."""
        if not self.success_url and _inherits(type(self), "get_success_url"):
            raise MissingResponseError(
                f"feature {self.feature.label}: no step answered, and there is no page to go to: set success_url, or "
                "let the last step return redirect(...)"
            )
        return super().form_valid(form)

    def form_invalid(self, form: BaseForm) -> HttpResponse:
        """Called after the rollback with a form that has errors, its own or a step's. Return the page with the form."""
        return self.render_to_response(self.get_context_data(form=form), status=self.invalid_status)

    # Extension API of FeatureView

    @classmethod
    def class_problems(cls, initkwargs: dict[str, Any]) -> Iterator[str]:
        """Yield what is missing or can never work; Django's FormView would report it only at the first request."""
        form_class = initkwargs.get("form_class", cls.form_class)
        if cls.method not in (None, "POST"):
            yield f"method = {cls.method!r}: a form is sent by POST; remove method, or set it to 'POST'"
        if form_class is None and _inherits(cls, "get_form_class") and _inherits(cls, "get_form"):
            yield "it has no form; set form_class"
        elif form_class is not None and not (isinstance(form_class, type) and issubclass(form_class, BaseForm)):
            yield f"form_class = {form_class!r} is not a Form class; handle other things in the steps of a FeatureView"
        if not initkwargs.get("template_name", cls.template_name) and _inherits(cls, "get_template_names"):
            yield "it has no page to show the form; set template_name"

    def handle_feature(self, request: HttpRequest) -> HttpResponseBase:
        if request.method != "POST":
            return self.render_to_response(self.get_context_data())
        return super().handle_feature(request)

    def run_feature_steps(self, ctx: Context, request: HttpRequest, attempt: Attempt) -> HttpResponseBase:
        # A new form for each attempt: what save() did to the last one was rolled back
        form = self.get_form()
        request.form = form  # type: ignore[attr-defined]
        if not form.is_valid():
            raise RollbackWithResponse(partial(self.form_invalid, form))
        self._instance = copy(getattr(form, "instance", None))
        try:
            return super().run_feature_steps(ctx, request, attempt)
        except MissingResponseError:
            response: Any = self.form_valid(form)
        if not isinstance(response, HttpResponseBase):
            raise InvalidStepResult(
                f"feature {self.feature.label}: form_valid returned a {type(response).__name__}; return an HttpResponse"
            )
        return rendered(response)

    def unhandled_error_response(
        self, error: Exception, failed_step: Mapping[str, Any] | None, request: HttpRequest
    ) -> HttpResponseBase | None:
        if not isinstance(error, StepError | ValidationError):
            return super().unhandled_error_response(error, failed_step, request)
        form = getattr(request, "form", None) or self.get_form()
        if self._instance is not None:
            form.instance = self._instance  # save() set a key, but its row was rolled back
        _add_error(form, error)
        response = self.form_invalid(form)
        if isinstance(error, StepError) and error.status >= 500:
            response.status_code = error.status  # the form is not at fault
        return response


def _add_error(form: BaseForm, error: StepError | ValidationError) -> None:
    """Add a step's *error* to *form*: to the fields that it names, and otherwise to the form as a whole."""
    if isinstance(error, StepError):
        form.add_error(None, ValidationError(error.message, code=error.code))
        return
    by_field = error.error_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.error_list}
    for field, errors in by_field.items():
        if field == NON_FIELD_ERRORS or field in form.fields:
            form.add_error(None if field == NON_FIELD_ERRORS else field, errors)
        else:
            # The form does not show this model field: without the name, the message would be unclear
            form.add_error(None, [f"{field}: {message}" for each in errors for message in each.messages])


def _inherits(view: type[FeatureFormView], hook: str) -> bool:
    return getattr(view, hook) is getattr(FeatureFormView, hook)
