"""The example project's routes: the shop's features, and the admin with the task log and django-rq's queues."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from numflow_django import feature_urls

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include(feature_urls("example_project.shop.features"))),
]
