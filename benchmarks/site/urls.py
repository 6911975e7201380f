"""One URL for each contestant: ours at /order/, the others' at /<name>/."""

from django.urls import include, path

from benchmarks.site.views import VIEWS_BY_NAME
from numflow_django import feature_urls

urlpatterns = [
    path("", include(feature_urls("benchmarks.site.features"))),
    *(path(f"{name}/", view) for name, view in VIEWS_BY_NAME.items()),
]
