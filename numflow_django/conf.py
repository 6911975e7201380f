"""Read the settings: the dict ``NUMFLOW``, whose keys are all optional, and the settings of Django that we need."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class Settings:
    """``NUMFLOW`` as typed properties. They read the settings at each use, so that ``override_settings`` works."""

    @property
    def values(self) -> Mapping[str, Any]:
        """Return the dict from the site's settings. Raise ImproperlyConfigured if it is not a dict."""
        values: Any = getattr(settings, "NUMFLOW", {})
        if not isinstance(values, Mapping):
            raise ImproperlyConfigured(f'NUMFLOW = {values!r} is not a dict; write NUMFLOW = {{"QUEUE": "default"}}')
        return values

    @property
    def all_names(self) -> list[str]:
        """The names of all settings of the site and of Django."""
        return [name for name in dir(settings) if name.isupper()]

    def value_of(self, name: str) -> Any:
        """Return the value of the setting *name*."""
        return getattr(settings, name)

    @property
    def QUEUE(self) -> str:
        """The RQ queue of a feature that sets none; a key of ``RQ_QUEUES``."""
        return str(self.values.get("QUEUE", "default"))

    @property
    def FEATURES(self) -> Sequence[str] | None:
        """Dotted packages to scan for features; None: ``features`` of every installed app."""
        return self.values.get("FEATURES")

    @property
    def TASK_TIMEOUT(self) -> float:
        """Seconds for one execution of an async task that sets none itself."""
        return float(self.values.get("TASK_TIMEOUT", 300))

    @property
    def TASK_MAX_ATTEMPTS(self) -> int:
        """Executions of an async task that sets none itself; 1: no retry."""
        return int(self.values.get("TASK_MAX_ATTEMPTS", 1))

    @property
    def TASK_MAX_CRASHES(self) -> int:
        """How many times one task of a run may crash its worker before the task fails for good."""
        return int(self.values.get("TASK_MAX_CRASHES", 3))

    @property
    def RELAY_SECONDS(self) -> float:
        """Seconds between two rounds of the relay, which enqueues due runs and recovers those of dead workers."""
        return float(self.values.get("RELAY_SECONDS", 10))

    @property
    def LEASE_SECONDS(self) -> int:
        """Seconds for which a worker holds a claimed run without renewing its lease."""
        return int(self.values.get("LEASE_SECONDS", 60))

    @property
    def CONTEXT_MAX_BYTES(self) -> int:
        """The largest size of a frozen context, in bytes of UTF-8."""
        return int(self.values.get("CONTEXT_MAX_BYTES", 262_144))

    @property
    def REDACT(self) -> tuple[str, ...]:
        """
        Words that mark a key as secret, in any case. The values of such keys are masked in logs and pages.

        ``_`` in a word also matches a hyphen or nothing.
        """
        return tuple(self.values.get("REDACT", DEFAULT_REDACT))

    @property
    def LOG_ROLLBACKS(self) -> Literal["errors", "all"] | None:
        """Which rolled-back requests leave a row: raised errors and 5xx, 4xx too, or none."""
        mode: Literal["errors", "all"] | None = self.values.get("LOG_ROLLBACKS", "errors")
        return mode

    @property
    def TRACE(self) -> bool:
        """Whether each request logs what its steps did; by default the value of ``DEBUG``."""
        wanted = self.values.get("TRACE")
        return bool(settings.DEBUG if wanted is None else wanted)

    @property
    def queues(self) -> Mapping[str, Any]:
        """django-rq's ``RQ_QUEUES``."""
        return getattr(settings, "RQ_QUEUES", {})

    @property
    def uses_feature_worker(self) -> bool:
        """Whether django-rq's ``RQ`` names a worker class: ours, or one that the site is responsible for."""
        return "WORKER_CLASS" in getattr(settings, "RQ", {})

    @property
    def worker_class(self) -> Any:
        """The worker class of django-rq's ``RQ``: a class, its dotted path, or None."""
        return getattr(settings, "RQ", {}).get("WORKER_CLASS")

    @property
    def databases(self) -> Mapping[str, Any]:
        """Django's ``DATABASES``."""
        return settings.DATABASES

    @property
    def usable_databases(self) -> list[str]:
        """The aliases of the databases with an engine; Django's docs write ``"default": {}`` for one without."""
        # Django fills in the dummy engine when it first reads DATABASES
        no_engine = (None, "", "django.db.backends.", "django.db.backends.dummy")
        return [alias for alias, config in self.databases.items() if config.get("ENGINE") not in no_engine]

    @property
    def has_routers(self) -> bool:
        """Whether the site has ``DATABASE_ROUTERS``, which decide where the tables are."""
        return bool(settings.DATABASE_ROUTERS)

    @property
    def append_slash(self) -> bool:
        """Django's ``APPEND_SLASH``."""
        return bool(settings.APPEND_SLASH)

    @property
    def has_csrf_middleware(self) -> bool:
        """Whether the site protects its views against cross-site requests."""
        return "django.middleware.csrf.CsrfViewMiddleware" in settings.MIDDLEWARE

    @property
    def has_login_middleware(self) -> bool:
        """Whether the site requires a login for each view that does not exempt itself."""
        return "django.contrib.auth.middleware.LoginRequiredMiddleware" in settings.MIDDLEWARE

    @property
    def base_dir(self) -> Path:
        """The project's ``BASE_DIR``, which startproject writes, or else the current directory."""
        return Path(getattr(settings, "BASE_DIR", "")).resolve()

    @property
    def root_urlconf(self) -> str | None:
        """Django's ``ROOT_URLCONF``, if there is one."""
        return getattr(settings, "ROOT_URLCONF", None)

    @property
    def debug(self) -> bool:
        """Django's ``DEBUG``."""
        return bool(settings.DEBUG)

    @property
    def propagates_errors(self) -> bool:
        """Django's ``DEBUG_PROPAGATE_EXCEPTIONS``."""
        return bool(settings.DEBUG_PROPAGATE_EXCEPTIONS)

    @property
    def atomic_requests(self) -> list[str]:
        """The aliases of the databases with ``ATOMIC_REQUESTS``."""
        return [alias for alias, config in self.databases.items() if config.get("ATOMIC_REQUESTS")]

    @property
    def embedded_queues(self) -> list[str]:
        """The queues that use the broker of ``numflow_django.embedded``."""
        sockets = {name: str(queue.get("UNIX_SOCKET_PATH", "")) for name, queue in self.queues.items()}
        return [name for name, socket in sockets.items() if socket.endswith("/broker.sock")]


DEFAULT_REDACT = (
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "private_key",
    "card_number",
    "cvc",
    "cvv",
    "비밀번호",
    "주민등록번호",
)

#: The keys that ``NUMFLOW`` may hold.
KEYS = tuple(name for name in vars(Settings) if name.isupper())

conf = Settings()
