"""The runs and the task log in Django's admin: to look at and not to change."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .models import FeatureRun, RunState, TaskExecution
from .redaction import mask

if TYPE_CHECKING:
    RunAdmin = admin.ModelAdmin[FeatureRun]
    ExecutionAdmin = admin.ModelAdmin[TaskExecution]
else:
    RunAdmin = ExecutionAdmin = admin.ModelAdmin


class ReadOnly:
    """A window on rows that only the engine writes; whoever has the view permission may look."""

    show_full_result_count = False  # counting a log of millions takes longer than showing its page

    class Media:
        css = {"all": ["numflow_django/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes a row by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes the log by hand."""
        return False

    @admin.display(description=_("state"), ordering="state")
    def badge(self, row: Any) -> SafeString:
        """The state, as a word and a colour."""
        return format_html('<span class="numflow-badge numflow-{}">{}</span>', row.state, row.get_state_display())


@admin.register(FeatureRun)
class FeatureRunAdmin(ReadOnly, RunAdmin):
    """One request on one page: what its steps did, what its tasks did."""

    list_display = ("feature", "badge", "progress", "request", "created_at", "id")
    list_filter = ("state", "feature", "queue")
    search_fields = ("=id", "path", "created_by")
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("id", "feature", "badge", "reason", "request", "created_by", "created_at")}),
        (_("Steps and async tasks"), {"fields": ("passage",)}),
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

    @admin.display(description=_("progress"))
    def progress(self, run: FeatureRun) -> str:
        """Tasks settled of tasks in all."""
        return f"{run.position}/{len(run.task_names)}"

    @admin.display(description=_("request"))
    def request(self, run: FeatureRun) -> str:
        """The request line and the answer's status."""
        return f"{run.method} {run.path} \N{RIGHTWARDS ARROW} {run.status_code}" if run.method else "-"

    @admin.display(description=_("passage"))
    def passage(self, run: FeatureRun) -> str:
        """The steps, the COMMIT or ROLLBACK, and every try of every task, in the order they happened."""
        count = len(run.task_names)
        not_run = ngettext("%(count)d async task not run", "%(count)d async tasks not run", count) % {"count": count}
        rolled_back = run.state == RunState.ROLLED_BACK
        return render_to_string(
            "numflow_django/passage.html",
            {
                "steps": run.steps,
                "rolled_back": rolled_back,
                "not_run": not_run if count else "",
                "tasks": [] if rolled_back else [*_tried(run), *_untried(run)],
            },
        )

    @admin.display(description=_("context"))
    def masked_context(self, run: FeatureRun) -> SafeString:
        """The frozen context, with secrets masked."""
        text = json.dumps(mask(json.loads(run.context)), ensure_ascii=False, indent=2)
        return format_html('<pre class="numflow-text">{}</pre>', text)


@admin.register(TaskExecution)
class TaskExecutionAdmin(ReadOnly, ExecutionAdmin):
    """The task log of all runs: one line for each try of each task."""

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
        """The label of the run's feature."""
        return execution.run.feature

    @admin.display(description=_("duration"))
    def took(self, execution: TaskExecution) -> str:
        """Milliseconds, or a dash for a task that never began."""
        return _milliseconds(execution) or "-"

    @admin.display(description=_("result"))
    def masked_result(self, execution: TaskExecution) -> str:
        """What the task returned, with secrets masked."""
        return _result(execution) or "-"

    @admin.display(description=_("traceback"))
    def traceback_text(self, execution: TaskExecution) -> SafeString:
        """The traceback as Python prints it."""
        return format_html('<pre class="numflow-text">{}</pre>', execution.traceback)


def _tried(run: FeatureRun) -> Iterator[dict[str, Any]]:
    """The task log of *run*, for its passage."""
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
    """The tasks that are still to be run."""
    for index, name in enumerate(run.task_names[run.position :]):
        now = index == 0 and run.state == RunState.RUNNING
        label = gettext("running") if now else gettext("not run yet")
        yield {"name": name, "attempt": 1, "state": "running" if now else "unknown", "label": label}


def _result(execution: TaskExecution) -> str:
    return "" if execution.result is None else json.dumps(mask(execution.result), ensure_ascii=False)


def _milliseconds(execution: TaskExecution) -> str:
    took = execution.duration
    return "" if took is None else f"{took.total_seconds() * 1000:.0f} ms"
