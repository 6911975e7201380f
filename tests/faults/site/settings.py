"""The settings of all processes of the suite; what differs from scenario to scenario comes by the environment."""

import json
import os

SECRET_KEY = "faults"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.faults.site.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_rq",
    "numflow_django",
    "tests.faults.site.apps.SiteConfig",
]
MIDDLEWARE: list[str] = []
DATABASES = {"default": json.loads(os.environ["FAULTS_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS = {
    "HOST": os.environ.get("FAULTS_REDIS_HOST", "127.0.0.1"),
    "PORT": int(os.environ["FAULTS_REDIS_PORT"]),
    "DB": 0,
}
RQ_QUEUES = {"default": REDIS}
RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}
NUMFLOW = json.loads(os.environ.get("FAULTS_NUMFLOW", "{}"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"numflow_django": {"handlers": ["console"], "level": "INFO"}},
}
