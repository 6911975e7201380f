"""
Logs what a request did, step by step, as one record in development (``NUMFLOW["TRACE"]``).

Each request has one record, so that concurrent requests do not mix.
"""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from django.http import HttpRequest, HttpResponseBase

from ..broker import workers
from ..conf import conf
from ..context import Context
from ..discovery.policy import Retry
from ..discovery.registry import Feature
from ..models import RunState
from ..text.redaction import scrub
from ..text.snapshot import Snapshot, show, snapshot_of
from .attempt import Attempt
from .http import UNREAD, describe, given, status_of

logger = logging.getLogger("numflow_django.trace")

#: Characters kept of an error's text.
ERROR_LENGTH = 1_000

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


class Trace:
    """Receives a request's trace events. This base class ignores them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Called when the request is done, with the *error* that Django will handle, if any."""

    def initialized(self) -> None:
        """Called after ``initialize_context``."""

    def begin(self, attempt: Attempt) -> None:
        """Called before the steps, at each attempt."""

    def step(self, entry: dict[str, Any], response: HttpResponseBase | None) -> None:
        """Called after each step, with its entry in the log."""

    def failed(self, error: Exception) -> None:
        """Called when an attempt, or ``initialize_context`` before it, has failed."""

    def handled(self, result: object) -> None:
        """Called with what ``on_error`` returned or raised."""

    def responded(self, response: R) -> R:
        """Called with the request's response. Return it."""
        return response


SILENT = Trace()


def tracing(feature: Feature, ctx: Context, request: HttpRequest) -> Trace:
    """Return the trace of one request; one that ignores all events unless ``NUMFLOW["TRACE"]`` is on."""
    return RequestTrace(feature, ctx, request) if conf.TRACE and logger.isEnabledFor(logging.INFO) else SILENT


def harmless(method: Callable[Concatenate["RequestTrace", P], None]) -> Callable[Concatenate["RequestTrace", P], None]:
    """Wrap a method of the trace: log its error, and let the request continue."""

    def guarded(self: "RequestTrace", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001
            self.lines.append(f"  (the trace failed: {describe(error)})")

    return guarded


class RequestTrace(Trace):
    """Collects lines, and logs them when the request is done."""

    def __init__(self, feature: Feature, ctx: Context, request: HttpRequest) -> None:
        self.feature = feature
        self.ctx = ctx
        self.request = request
        self.started = perf_counter()
        self.lines: list[str] = []
        self.seen: dict[str, Snapshot] = {}  # the context when it was last compared
        self.attempt: Attempt | None = None
        self.passed = 0
        self.response: HttpResponseBase | None = None

    @harmless
    def initialized(self) -> None:
        changes = self._changes()
        if changes:
            self.lines += ["  [initialize_context] ✓", *changes]

    @harmless
    def begin(self, attempt: Attempt) -> None:
        self.attempt, self.passed = attempt, 0
        if attempt.number > 1:
            self.lines.append(f"  [Attempt {attempt.number}]")

    @harmless
    def step(self, entry: dict[str, Any], response: HttpResponseBase | None) -> None:
        good = "error" not in entry and (response is None or response.status_code < 400)
        self.passed += good
        answered = f" answered {response.status_code}" if response else ""
        mark = "✓" if good else "✗"
        self.lines.append(f"  [Step {entry['number']}] {entry['name']} ({entry['ms']:.0f}ms) {mark}{answered}")
        self.lines += self._changes()
        if "error" in entry:
            self.lines += _error_lines(entry["error"])

    @harmless
    def failed(self, error: Exception) -> None:
        if self.attempt is None or self.attempt.failed_step is None:
            where = "after the steps" if self.attempt else "initialize_context"
            self.lines += [f"  [{where}] ✗", *self._changes(), *_error_lines(describe(error))]

    @harmless
    def handled(self, result: object) -> None:
        changes = self._changes()
        if result is not None or changes:
            self.lines += [f"  [on_error] {_result_of_on_error(result)}".rstrip(), *changes]

    def responded(self, response: R) -> R:
        self.response = response
        return response

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._add_input()
        self._add_summary(error)
        self._add_missing_worker()
        self._log()

    @harmless
    def _add_input(self) -> None:
        self.lines[:0] = self._input()

    @harmless
    def _add_summary(self, error: BaseException | None) -> None:
        self.lines.append(self._summary(error))

    @harmless
    def _add_missing_worker(self) -> None:
        run = self.attempt.run if self.attempt and self.attempt.committed else None
        if run is not None and run.state == RunState.QUEUED and workers.worker_count(run.queue) == 0:
            start = workers.worker_command(run.queue)
            self.lines.append(f"  (no worker serves the queue {run.queue}; start {start})")

    @harmless
    def _log(self) -> None:
        head = f"[Feature] {self.request.method} {_line(self.request.path)} ({self.feature.label})"
        logger.info("%s", "\n".join([head, *self.lines]))

    def _input(self) -> list[str]:
        """Return the request's input; a body that no code has read stays unread."""
        data = given(self.request)
        parts = {
            "params": getattr(self.request, "_params", getattr(self.request, "params", None)),
            "query": self.request.GET,
            "input": None if data is UNREAD else data,
            "files": vars(self.request).get("_files"),
        }
        lines = [f"  {name}: {show(snapshot_of(part))}" for name, part in parts.items() if part]
        unread = data is UNREAD and self.request.META.get("CONTENT_LENGTH") not in (None, "", "0")
        return [*lines, "  input: not read by any step"] if unread else lines

    def _changes(self) -> list[str]:
        """Return the keys of the context that were added (+), changed (~) or removed (-) since the last call."""
        before, self.seen = self.seen, {key: snapshot_of(value) for key, value in [*vars(self.ctx).items()]}
        return [
            *(
                f"    {'~' if key in before else '+'} {_line(key)} = {show(taken, key)}"
                for key, taken in self.seen.items()
                if key not in before or before[key] != taken
            ),
            *(f"    - {_line(key)}" for key in before if key not in self.seen),
        ]

    def _summary(self, error: BaseException | None) -> str:
        ms = (perf_counter() - self.started) * 1000
        status = self.response.status_code if self.response else _status(error)
        raised = "" if error is None else " (raised)"
        steps = f"{self.passed}/{len(self.feature.steps)} steps passed"
        return f"  [Summary] {status}{raised} in {ms:.0f}ms, {steps}, {self._fate()}{self._tasks()}"

    def _fate(self) -> str:
        """Return how the transaction ended."""
        if not self.feature.atomic:
            return "no transaction"
        if self.attempt is None:
            return "nothing begun"
        if self.attempt.committed:
            return "committed"
        return "commits with the block around it" if self._is_open() else "rolled back"

    def _is_open(self) -> bool:
        return self.response is not None and self.response.status_code < 400 and self.passed > 0

    def _tasks(self) -> str:
        """Return the line with the async tasks that will run."""
        names, run = self.feature.task_names, self.attempt.run if self.attempt else None
        if not names:
            return ""
        if run is None:
            return f"; {len(names)} async tasks not run" if len(names) > 1 else "; 1 async task not run"
        return f"; async tasks: {', '.join(names)} (queue {run.queue}, {run.state}, run {run.pk})"


def _result_of_on_error(result: object) -> str:
    if isinstance(result, HttpResponseBase):
        return f"answered {result.status_code}"
    if isinstance(result, Exception):
        return f"✗ {_line(describe(result))}"
    return repr(result) if isinstance(result, Retry) else ""


def _status(error: BaseException | None) -> int:
    return status_of(error) if isinstance(error, Exception) else 500


def _error_lines(text: str) -> list[str]:
    return [f"    {_line(line)}" for line in scrub(text, ERROR_LENGTH).splitlines() if line.strip()]


def _line(text: str) -> str:
    """Return *text* masked and on one line: what a client sent must not look like a line of the trace."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in scrub(text, ERROR_LENGTH))
