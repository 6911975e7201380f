"""Shows the runs and the task log in Django's admin; runs can be cancelled and resumed, but not edited."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .execution.relay import dispatch_due
from .models import ENDED, OPEN, FeatureRun, FeatureRunQuerySet, RunState, TaskExecution
from .text.redaction import mask

if TYPE_CHECKING:
    RunAdmin = admin.ModelAdmin[FeatureRun]
    ExecutionAdmin = admin.ModelAdmin[TaskExecution]
else:
    RunAdmin = ExecutionAdmin = admin.ModelAdmin


class ReadOnly:
    """Shows rows that only the engine writes, to users with the view permission."""

    show_full_result_count = False  # counting a log of millions takes longer than showing its page

    class Media:
        css = {"all": ["numflow_django/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: rows are not added by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: rows are not changed by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the log is not deleted by hand."""
        return False

    @admin.display(description=_("state"), ordering="state")
    def badge(self, row: Any) -> SafeString:
        """Return the state as a word with a colour."""
        return format_html('<span class="numflow-badge numflow-{}">{}</span>', row.state, row.get_state_display())

    @admin.display(description=_("traceback"))
    def traceback_text(self, row: Any) -> SafeString:
        """Return the traceback as Python prints it."""
        return format_html('<pre class="numflow-text">{}</pre>', row.traceback)


#: What a user with the permission "operate" may do with a run: the button's name -> its title and its method.
OPERATIONS: dict[str, tuple[Any, Callable[[FeatureRun], bool]]] = {
    "cancel": (_("Cancel"), FeatureRun.cancel),
    "resume_failed": (_("Run the failed tasks again"), partial(FeatureRun.resume, only_failed=True)),
    "resume": (_("Run all that remains"), FeatureRun.resume),
}


@admin.register(FeatureRun)
class FeatureRunAdmin(ReadOnly, RunAdmin):
    """Shows one request on one page: what its steps and tasks did, with the buttons to cancel or resume the run."""

    change_form_template = "numflow_django/change_form.html"
    actions = ("cancel", "resume_failed", "resume")
    list_display = ("feature", "badge", "progress", "request", "created_at", "id")
    list_filter = ("state", "feature", "queue")
    search_fields = ("=id", "path", "created_by")
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("id", "feature", "badge", "reason", "request", "created_by", "created_at")}),
        (_("Steps and async tasks"), {"fields": ("timeline",)}),
        (_("Worker"), {"fields": ("queue", "worker", "started_at", "finished_at")}),
        (_("Context"), {"fields": ("masked_context",), "classes": ("collapse",)}),
        (
            _("Dispatch"),
            {
                "fields": ("available_at", "queued_at", "dispatch_no", "token", "lease_expires_at"),
                "classes": ("collapse",),
            },
        ),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets; the traceback is shown only if the request raised."""
        shown = super().get_fieldsets(request, obj)
        if obj is None or not obj.traceback:
            return shown
        return [*shown, (_("Traceback"), {"fields": ("traceback_text",), "classes": ("collapse",)})]

    @admin.display(description=_("progress"))
    def progress(self, run: FeatureRun) -> str:
        """Return how many tasks are done, and how many there are."""
        return f"{run.position}/{len(run.task_names)}"

    @admin.display(description=_("request"))
    def request(self, run: FeatureRun) -> str:
        """Return the request line and the status of the response."""
        return f"{run.method} {run.path} \N{RIGHTWARDS ARROW} {run.status_code}" if run.method else "-"

    @admin.display(description=_("timeline"))
    def timeline(self, run: FeatureRun) -> str:
        """Return the steps, the COMMIT or ROLLBACK, and every execution of every task, in order of time."""
        count = len(run.task_names)
        not_run = ngettext("%(count)d async task not run", "%(count)d async tasks not run", count) % {"count": count}
        rolled_back = run.state == RunState.ROLLED_BACK
        return render_to_string(
            "numflow_django/timeline.html",
            {
                "steps": run.steps,
                "rolled_back": rolled_back,
                "not_run": not_run if count else "",
                "tasks": [] if rolled_back else [*_tried(run), *_untried(run)],
            },
        )

    @admin.display(description=_("context"))
    def masked_context(self, run: FeatureRun) -> SafeString:
        """Return the frozen context with secrets masked."""
        text = json.dumps(mask(json.loads(run.context)), ensure_ascii=False, indent=2)
        return format_html('<pre class="numflow-text">{}</pre>', text)

    # Operations on a run

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may view, cancel and resume runs."""
        return self.has_view_permission(request) and request.user.has_perm("numflow_django.operate_featurerun")

    def get_urls(self) -> list[URLPattern]:
        """Return the admin's URLs and the one for the buttons."""
        view = self.admin_site.admin_view(self.operate)
        return [path("<uuid:run_id>/operate/", view, name="numflow_django_operate"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the buttons to users who may press them."""
        run = context.get("original")
        if run is not None and self.has_operate_permission(request):
            context["operations"] = [(name, OPERATIONS[name][0]) for name in _operations(run)]
        return super().render_change_form(request, context, *args, **kwargs)

    def operate(self, request: HttpRequest, run_id: Any) -> HttpResponse:
        """Called when a button is pressed: run its operation and show the result as a message."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_operate_permission(request):
            raise PermissionDenied
        run = self.get_queryset(request).filter(pk=run_id).first()
        if run is None or request.POST.get("operation") not in OPERATIONS:
            raise Http404
        self._operate(request, request.POST["operation"], [run])
        return HttpResponseRedirect(reverse("admin:numflow_django_featurerun_change", args=[run_id]))

    @admin.action(description=_("Cancel the selected runs"), permissions=["operate"])
    def cancel(self, request: HttpRequest, runs: FeatureRunQuerySet) -> None:
        """Cancel all runs in *runs* that have not ended."""
        self._operate(request, "cancel", runs)

    @admin.action(description=_("Run the failed tasks of the selected runs again"), permissions=["operate"])
    def resume_failed(self, request: HttpRequest, runs: FeatureRunQuerySet) -> None:
        """Resume all runs in *runs* that have failed."""
        self._operate(request, "resume_failed", runs)

    @admin.action(description=_("Run all that remains of the selected runs"), permissions=["operate"])
    def resume(self, request: HttpRequest, runs: FeatureRunQuerySet) -> None:
        """Resume all runs in *runs* that have failed or were cancelled."""
        self._operate(request, "resume", runs)

    def _operate(self, request: HttpRequest, operation: str, runs: Any) -> None:
        title, change = OPERATIONS[operation]
        done = [run for run in runs if change(run)]
        for run in done:
            self.log_change(request, run, str(title))
            if operation != "cancel":
                # Enqueue now: the user should not have to wait for the relay's next tick
                transaction.on_commit(partial(_dispatch, run), using=run._state.db, robust=True)
        if done:
            message = ngettext("%(what)s: %(count)d run.", "%(what)s: %(count)d runs.", len(done))
            self.message_user(request, message % {"what": title, "count": len(done)}, messages.SUCCESS)
        if len(done) < len(runs):
            left = len(runs) - len(done)
            message = ngettext(
                "%(count)d run was left as it is: its state does not allow this.",
                "%(count)d runs were left as they are: their states do not allow this.",
                left,
            )
            self.message_user(request, message % {"count": left}, messages.WARNING)


def _operations(run: FeatureRun) -> Iterator[str]:
    """Yield the operations that the run's state allows."""
    if run.state in {*OPEN, RunState.RUNNING} and not run.cancel_requested:
        yield "cancel"
    if run.state in ENDED and run.state != RunState.SUCCEEDED:
        names = run.not_succeeded(only_failed=True)
        if names:
            yield "resume_failed"
        if run.not_succeeded() != names:
            yield "resume"


def _dispatch(run: FeatureRun) -> None:
    run.reread()
    dispatch_due(run)


@admin.register(TaskExecution)
class TaskExecutionAdmin(ReadOnly, ExecutionAdmin):
    """Shows the task log of all runs: one line for each execution of each task."""

    list_display = ("name", "run_feature", "badge", "attempt", "started_at", "took", "error_type", "worker")
    list_filter = ("state", "name")
    search_fields = ("=run__id", "name", "error_type")
    ordering = ("-id",)
    list_select_related = ("run",)
    fieldsets = (
        (None, {"fields": ("run", "name", "attempt", "badge", "started_at", "finished_at", "took", "worker")}),
        (_("Outcome"), {"fields": ("masked_result", "error_type", "error_message", "traceback_text")}),
    )

    @admin.display(description=_("feature"), ordering="run__feature")
    def run_feature(self, execution: TaskExecution) -> str:
        """Return the label of the run's feature."""
        return execution.run.feature

    @admin.display(description=_("duration"))
    def took(self, execution: TaskExecution) -> str:
        """Return the milliseconds, or a dash for a task that never began."""
        return _milliseconds(execution) or "-"

    @admin.display(description=_("result"))
    def masked_result(self, execution: TaskExecution) -> str:
        """Return what the task returned, with secrets masked."""
        return _result(execution) or "-"


def _tried(run: FeatureRun) -> Iterator[dict[str, Any]]:
    """Yield the executions in the task log of *run*."""
    for execution in run.executions.order_by("id"):
        yield {
            "name": execution.name,
            "attempt": execution.attempt,
            "state": execution.state,
            "label": execution.get_state_display(),
            "took": _milliseconds(execution),
            "url": reverse("admin:numflow_django_taskexecution_change", args=[execution.pk]),
            "result": _result(execution),
            "error": ": ".join(filter(None, [execution.error_type, execution.error_message])),
        }


def _untried(run: FeatureRun) -> Iterator[dict[str, Any]]:
    """Yield the tasks that have not run yet."""
    for index, name in enumerate(run.task_names[run.position :]):
        now = index == 0 and run.state == RunState.RUNNING
        label = gettext("running") if now else gettext("not run yet")
        yield {"name": name, "attempt": 1, "state": "running" if now else "unknown", "label": label}


def _result(execution: TaskExecution) -> str:
    return "" if execution.result is None else json.dumps(mask(execution.result), ensure_ascii=False)


def _milliseconds(execution: TaskExecution) -> str:
    took = execution.duration
    return "" if took is None else f"{took.total_seconds() * 1000:.0f} ms"
