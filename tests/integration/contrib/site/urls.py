"""The one page of the Django project."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from lasersell.contrib.django.stream import worker


def page(_request: HttpRequest) -> HttpResponse:
    """Say what this process is doing."""
    return HttpResponse(worker.state)


urlpatterns = [path("", page)]
