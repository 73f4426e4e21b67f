"""The page, and the data that it asks for."""

from __future__ import annotations

from django.urls import path

from board import views

urlpatterns = [path("", views.page), path("data", views.data)]
