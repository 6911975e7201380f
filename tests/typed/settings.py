"""The settings of the typed shop, which stands outside the package as a user's does."""

SECRET_KEY = "typed"
DEBUG = True
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "shop.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_rq", "numflow_django", "shop"]
RQ_QUEUES = {"default": {"URL": "redis://127.0.0.1:1/0"}}
RQ = {"WORKER_CLASS": "numflow_django.worker.FeatureWorker"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # from Django 6.1 on
