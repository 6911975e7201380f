"""The URLs of the site: its features and nothing else."""

from django.urls import include, path

from numflow_django import feature_urls

urlpatterns = [path("", include(feature_urls("tests.faults.site.features")))]
