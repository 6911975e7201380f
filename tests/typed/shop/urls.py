"""The routes of the typed shop."""

from django.urls import include, path

from numflow_django import feature_urls

urlpatterns = [path("", include(feature_urls("shop.features")))]
