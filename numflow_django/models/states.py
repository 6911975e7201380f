"""The states of a run, and how an execution ended."""

from django.utils.translation import gettext_lazy as _

from ..db.literals import LiteralChoices


class RunState(LiteralChoices):
    """The state of a run."""

    __module__ = "numflow_django.models"  # a stored context holds this path

    PENDING = "pending", _("pending")
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    ROLLED_BACK = "rolled_back", _("rolled back")


#: States in which a run may still be claimed or dispatched.
OPEN = (RunState.PENDING, RunState.QUEUED, RunState.WAITING)
#: States that a run leaves only if it is resumed.
ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class ExecutionState(LiteralChoices):
    """How one execution of a task ended."""

    __module__ = "numflow_django.models"

    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    LOST = "lost", _("lost")
    SKIPPED = "skipped", _("skipped")
