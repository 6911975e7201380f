"""The routes of the tests' site."""

from django.contrib import admin
from django.urls import include, path

from numflow_django import feature_urls

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include(feature_urls("tests.market.features"))),
]
