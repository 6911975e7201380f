"""All errors of numflow_django, in one tree. Each docstring says what happened and what to do."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist
from django.db.transaction import TransactionManagementError
from django.utils.datastructures import MultiValueDictKeyError


class NumflowError(Exception):
    """The root of all errors of numflow_django."""


# Start-up: a folder, a name or an option is wrong


class FeatureConfigurationError(NumflowError, ImproperlyConfigured):
    """A feature cannot be loaded. The subclasses say what to change; *code* is the check's id."""

    code = "numflow.E100"


class InvalidFeatures(NumflowError, ImproperlyConfigured):
    """One or more features cannot be loaded; *errors* is a list with a FeatureConfigurationError for each mistake."""

    def __init__(self, errors: list[FeatureConfigurationError]) -> None:
        self.errors = errors
        count = f"{len(errors)} mistake{'s'[: len(errors) != 1]} in the features"
        super().__init__("\n".join([f"{count}:", *(f"({error.code}) {error}" for error in errors)]))


class StepsMissing(FeatureConfigurationError):
    """The feature has no ``steps`` package, or no numbered module in it. Add ``steps/100_<name>.py``."""

    code = "numflow.E101"


class InvalidModuleName(FeatureConfigurationError):
    """A module is not named ``<number>_<name>.py``. Rename it, or start its name with ``_`` if it is a helper."""

    code = "numflow.E102"


class DuplicateNumber(FeatureConfigurationError):
    """Two modules of one folder have the same number, so their order is undefined. Renumber one of them."""

    code = "numflow.E103"


class DuplicateName(FeatureConfigurationError):
    """Two modules of one folder have the same name apart from the number. Rename one of them."""

    code = "numflow.E104"


class FunctionNotFound(FeatureConfigurationError):
    """A numbered module has no function to run. Define a function with the same name as the file."""

    code = "numflow.E105"


class InvalidSignature(FeatureConfigurationError):
    """
    The function of a step or task has parameters that it cannot get.

    A step takes ``(ctx)``, ``(ctx, request)`` or ``(ctx, request, response)``, an async task takes ``(ctx)``.
    """

    code = "numflow.E106"


class ModuleImportFailed(FeatureConfigurationError):
    """A module of a feature raised an error while it was imported. Fix the error that the message quotes."""

    code = "numflow.E107"

    def __init__(self, message: str, files: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.files = tuple(dict.fromkeys(files))  # a change in one of them may fix the error


class PackageMissing(FeatureConfigurationError):
    """A package named by ``feature_urls()``, ``NUMFLOW["FEATURES"]``, ``steps`` or ``async_tasks`` does not exist."""

    code = "numflow.E108"


class InvalidFeature(FeatureConfigurationError):
    """A feature's folder or an attribute of its FeatureView is wrong. The message names the attribute."""

    code = "numflow.E109"


class DuplicateFeature(FeatureConfigurationError):
    """Two features have the same label. Rename one of the folders or classes."""

    code = "numflow.E110"


class InvalidRoute(FeatureConfigurationError):
    """A feature's path or its folder's name is not a valid route. The message shows a valid one."""

    code = "numflow.E111"


class DuplicateRoute(FeatureConfigurationError):
    """Two features have the same method on the same path. Change the path or the method of one of them."""

    code = "numflow.E112"


class DuplicateURLName(FeatureConfigurationError):
    """
    Two URLs of one package have the same name, so that ``reverse()`` would silently use one of them.

    Rename one of the folders.
    """

    code = "numflow.E113"


# The request


class StepError(NumflowError):
    """
    Raised by a step to fail with a JSON response; nothing is committed and no async task runs.

    *message* is shown to the client. *status* is an HTTP status from 400 to 599 (ValueError otherwise). *code* is a
    stable word for programs. *details* is any JSON value.
    """

    def __init__(self, message: str, status: int = 400, code: str | None = None, details: Any = None) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"StepError(status={status!r}): the status must be from 400 to 599")
        super().__init__(message)
        self.message = str(message)
        self.status = status
        self.code = code
        self.details = details


class InvalidRequestData(StepError):
    """The request's body cannot be read as ``request.data``. It becomes a 400 (415: an unknown content type)."""


class NotAnObject(InvalidRequestData, AttributeError, TypeError):
    """
    A step used ``request.data`` as a JSON object, but the client sent an array. It becomes a 400.

    It is also an AttributeError, so ``hasattr(request.data, "get")`` is False: a step that accepts both can ask first.
    """


class MissingKey(InvalidRequestData, MultiValueDictKeyError):
    """
    A step read a key of ``request.data`` that the client did not send. It becomes a 400.

    It is a KeyError, so ``except KeyError`` works; read an optional key with ``request.data.get()``.
    """

    __str__ = Exception.__str__  # KeyError's shows a repr


class MissingResponseError(NumflowError):
    """
    No step responded to the request. Let the last step return an HttpResponse or call ``response.json(...)``.
    """


class InvalidStepResult(NumflowError, TypeError):
    """
    A step, or ``initialize_context``, returned a value that would be lost.

    Return an HttpResponse, or store the value on ``ctx``.
    """


class InvalidErrorHandlerResult(NumflowError, TypeError):
    """``on_error`` returned something that is not an HttpResponse, a Retry or None, or a Retry that is not possible."""


class ResponseAlreadySent(NumflowError, RuntimeError):
    """A step responded twice. Respond once, with the return value or with the ``response`` parameter."""


class TransactionNotCommitted(NumflowError, TransactionManagementError):
    """
    The steps succeeded, but their transaction was not committed.

    A step closed the connection, called ``set_rollback(True)``, left an ``atomic`` block open, ended the transaction in
    SQL, or caught a database error without an ``atomic`` block of its own around the query that failed.
    """


# The context


class ContextError(NumflowError):
    """Something is wrong with a key of the context."""


class ReservedKey(ContextError, AttributeError):
    """
    ``ctx[key] = value`` was called with a name that ``ctx`` itself uses, such as ``run_id``. Choose another name.

    It becomes a 400 if the client sent the key.
    """


class ContextValueError(ContextError, TypeError):
    """
    A value cannot be stored for the async tasks.

    The message names the key, the type and the step; store a plain value instead.
    """


class ContextTooLarge(ContextError, ValueError):
    """
    The stored context is larger than ``NUMFLOW["CONTEXT_MAX_BYTES"]``. Store a key or a path instead of the data.
    """


class ContextCorrupt(ContextError, ValueError):
    """A stored context cannot be loaded, because a class that it needs has moved or changed."""


class ContextInstanceGone(ContextError, ObjectDoesNotExist):
    """A model instance that the context refers to no longer exists in its database."""


# Runs without a request


class UnknownFeature(NumflowError, LookupError):
    """
    ``start_run``, or a fault or an assertion of ``numflow_django.testing``, got a label that no feature has.

    ``start_run`` also raises it for a feature without async tasks.
    """


class UnknownTask(NumflowError, LookupError):
    """A fault of ``numflow_django.testing`` got the name of a task that the feature does not have."""


# The worker


class TaskError(NumflowError):
    """An async task cannot be run or cannot be recorded."""


class TaskTimeout(TaskError, TimeoutError):
    """
    An async task ran longer than its ``timeout``.

    Set a longer one with ``@async_task(timeout=...)``, or do less in the task.
    """


class TransactionLeftOpen(TaskError, TransactionManagementError):
    """An async task left a transaction open; its writes were rolled back. Use ``with transaction.atomic():``."""


class ClaimLost(TaskError):
    """This worker's claim on the run is no longer valid: its lease ended, and another worker has the run."""
