"""The settings of the tests: SQLite in a file unless DATABASE_URL names another database; no Redis is expected."""

import os
import tempfile
from pathlib import Path

import dj_database_url

BASE_DIR = Path(__file__).parent

SECRET_KEY = "tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "Asia/Seoul"
LANGUAGE_CODE = "en"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_rq",
    "rest_framework",
    "numflow_django",
    "tests.market",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
URL = os.environ.get("DATABASE_URL")


def database(name: str) -> dict[str, object]:
    """One of the two databases of the tests, on the server of DATABASE_URL or in a file."""
    if URL:
        config = dict(dj_database_url.parse(URL))
        return {**config, "TEST": {"NAME": f"test_{config['NAME']}_{name}"}}
    # A file and not memory: its connections close, fail and wait for locks as a real site's do
    file = Path(tempfile.gettempdir()) / f"numflow-tests-{os.getpid()}-{name}.sqlite3"
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": SQLITE, "TEST": {"NAME": file}}


DATABASES = {"default": database("default"), "other": database("other")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Nobody listens on this port: what needs Redis starts its own
RQ_QUEUES = {
    "default": {"HOST": "127.0.0.1", "PORT": 1, "DB": 0},
    "mail": {"HOST": "127.0.0.1", "PORT": 1, "DB": 0},
}
RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # from Django 6.1 on
NUMFLOW: dict[str, object] = {}
