"""The settings of all Django processes; the servers' addresses come by the environment."""

import json
import os

SECRET_KEY = "benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "benchmarks.site.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_rq",
    "numflow_django",
    "benchmarks.site",
]
# None: whatever every request pays for would make the difference between two views look smaller
MIDDLEWARE: list[str] = []
# Connections are kept: to connect anew for each request costs more than everything that is compared here
DATABASE = {**json.loads(os.environ["BENCH_DATABASE"]), "CONN_MAX_AGE": None}
if "postgresql" in DATABASE["ENGINE"]:
    # As psycopg does where Django does not tell it otherwise; docs/how-to/deploy.md
    threshold = os.environ.get("BENCH_PREPARE_THRESHOLD", "5")
    DATABASE["OPTIONS"] = {**DATABASE["OPTIONS"], "prepare_threshold": int(threshold) if threshold else None}
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

RQ_QUEUES = {"default": {"HOST": "127.0.0.1", "PORT": int(os.environ["BENCH_REDIS_PORT"]), "DB": 0}}
RQ = {"WORKER_CLASS": os.environ.get("BENCH_WORKER_CLASS", "numflow_django.worker.FeatureWorker")}

# Every contestant logs warnings only
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"numflow_django": {"handlers": ["console"], "level": "WARNING"}},
}
