"""
The example project: SQLite and an embedded broker, so that nothing needs to be installed.

With ``DATABASE_URL`` and ``REDIS_URL`` it uses PostgreSQL or MariaDB and your own Redis. ``NUMFLOW_DEMO_DIR`` is the
folder in which the demo creates ``.demo/``, with everything that it stores.
"""

import os
from pathlib import Path
from typing import Any

import dj_database_url
import django

from numflow_django.embedded import rq_queues

BASE_DIR = Path(__file__).resolve().parent.parent
DEMO_DIR = Path(os.environ.get("NUMFLOW_DEMO_DIR") or BASE_DIR).resolve() / ".demo"

SECRET_KEY = "only-for-the-demo"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_rq",
    "numflow_django",
    "example_project.shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
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

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ko", "한국어")]
TIME_ZONE = "Asia/Seoul"
USE_TZ = True
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]

# SQLite's defaults fail concurrent read-then-write transactions with "database is locked": a transaction that writes
# must say so when it begins
SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": DEMO_DIR / "db.sqlite3",
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(os.environ["DATABASE_URL"]) if "DATABASE_URL" in os.environ else SQLITE
}
if DATABASES["default"] is SQLITE:
    # SQLite creates the file but not its directory, and from Django 6.1 on the checks of every command open it
    DEMO_DIR.mkdir(parents=True, exist_ok=True)

RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}

# REDIS_URL, or a unix socket in DEMO_DIR that `manage.py demo` starts a server on
RQ_QUEUES = rq_queues(DEMO_DIR.parent)

# Each mail is a file. Django before 6.1 does not know MAILERS; Django 6.1 does not start with both
MAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
MAIL_DIR = DEMO_DIR / "mail"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": MAIL_BACKEND, "OPTIONS": {"file_path": MAIL_DIR}}}
else:
    EMAIL_BACKEND = MAIL_BACKEND
    EMAIL_FILE_PATH = MAIL_DIR
DEFAULT_FROM_EMAIL = "shop@example.com"

# Shared by the web server and the worker. The default cache is in the memory of one process
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": DEMO_DIR / "cache"}}

# The servers that the shop's tasks call. With a file: URL the requests are recorded in a folder, so the demo sends
# nothing to other machines
SHOP_CRM_URL = os.environ.get("SHOP_CRM_URL") or (DEMO_DIR / "crm").as_uri()
SHOP_WEBHOOK_URL = os.environ.get("SHOP_WEBHOOK_URL") or (DEMO_DIR / "webhooks").as_uri()
SHOP_WEBHOOK_SECRET = os.environ.get("SHOP_WEBHOOK_SECRET") or "only-for-the-demo"

# One line for each task and run, in the worker's terminal
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"numflow_django": {"handlers": ["console"], "level": "INFO"}},
}
