"""The task log in Django's admin: both tables, to look at and not to change."""

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from .models import FeatureRun, RunState, TaskExecution
from .redaction import mask

if TYPE_CHECKING:
    RunAdmin = admin.ModelAdmin[FeatureRun]
    ExecutionAdmin = admin.ModelAdmin[TaskExecution]
    ExecutionInline = admin.TabularInline[TaskExecution, FeatureRun]
else:
    RunAdmin = ExecutionAdmin = admin.ModelAdmin
    ExecutionInline = admin.TabularInline


class ReadOnly:
    """A window on rows that only the engine writes; whoever has the view permission may look."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes a row by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes the log by hand."""
        return False


class TaskExecutionInline(ReadOnly, ExecutionInline):
    """The task log of one run, in the order of the tries."""

    model = TaskExecution
    fields = ("position", "name", "attempt", "state", "started_at", "took", "result", "error")
    readonly_fields = fields
    ordering = ("id",)
    extra = 0
    show_change_link = True

    @admin.display(description=_("duration"))
    def took(self, execution: TaskExecution) -> str:
        """Milliseconds, or a dash for a task that never began."""
        return _milliseconds(execution)

    @admin.display(description=_("error"))
    def error(self, execution: TaskExecution) -> str:
        """Type and message; the traceback is on the execution's own page."""
        return f"{execution.error_type}: {execution.error_message}" if execution.error_type else ""


@admin.register(FeatureRun)
class FeatureRunAdmin(ReadOnly, RunAdmin):
    """One request on one page: what its steps did, what its tasks did."""

    list_display = (
        "feature",
        "state",
        "progress",
        "method",
        "path",
        "status_code",
        "created_at",
        "finished_at",
        "id",
    )
    list_filter = ("state", "feature", "queue")
    search_fields = ("=id", "path", "created_by")
    ordering = ("-id",)
    show_full_result_count = False
    inlines = (TaskExecutionInline,)
    fieldsets = (
        (None, {"fields": ("id", "feature", "state", "reason", "progress")}),
        (
            _("Request"),
            {"fields": ("method", "path", "status_code", "created_by", "steps_table", "created_at")},
        ),
        (_("Async tasks"), {"fields": ("outlook", "queue", "worker", "started_at", "finished_at")}),
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

    @admin.display(description=_("steps"))
    def steps_table(self, run: FeatureRun) -> SafeString:
        """The steps in the order they ran, with their times and the error that ended them."""
        rows = ((step["number"], step["name"], f"{step['ms']:.1f}", step.get("error", "")) for step in run.steps)
        items = format_html_join("", "<li>{} {} ({} ms) <strong>{}</strong></li>", rows)
        return format_html('<ol class="numflow-steps">{}</ol>', items)

    @admin.display(description=_("tasks"))
    def outlook(self, run: FeatureRun) -> SafeString | str:
        """What is to become of the tasks."""
        if run.state == RunState.ROLLED_BACK:
            count = len(run.task_names)
            return ngettext("%(count)d async task not run", "%(count)d async tasks not run", count) % {"count": count}
        return ", ".join(run.task_names)

    @admin.display(description=_("context"))
    def masked_context(self, run: FeatureRun) -> SafeString:
        """The frozen context, with secrets masked."""
        text = json.dumps(mask(json.loads(run.context)), ensure_ascii=False, indent=2)
        return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)


@admin.register(TaskExecution)
class TaskExecutionAdmin(ReadOnly, ExecutionAdmin):
    """The task log of all runs: one line for each try of each task."""

    list_display = ("name", "run_feature", "state", "attempt", "started_at", "took", "error_type", "worker")
    list_filter = ("state", "name")
    search_fields = ("=run__id", "name", "error_type")
    ordering = ("-id",)
    list_select_related = ("run",)
    show_full_result_count = False
    fields = (
        "run",
        "name",
        "attempt",
        "state",
        "started_at",
        "finished_at",
        "took",
        "worker",
        "result",
        "error_type",
        "error_message",
        "traceback_text",
    )

    @admin.display(description=_("feature"), ordering="run__feature")
    def run_feature(self, execution: TaskExecution) -> str:
        """The label of the run's feature."""
        return execution.run.feature

    @admin.display(description=_("duration"))
    def took(self, execution: TaskExecution) -> str:
        """Milliseconds, or a dash for a task that never began."""
        return _milliseconds(execution)

    @admin.display(description=_("traceback"))
    def traceback_text(self, execution: TaskExecution) -> SafeString:
        """The traceback as Python prints it."""
        return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', execution.traceback)


def _milliseconds(execution: TaskExecution) -> str:
    took = execution.duration
    return "-" if took is None else f"{took.total_seconds() * 1000:.0f} ms"
