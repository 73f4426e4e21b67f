"""The page and its data; any process can serve them, for they come from the database."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from board.models import Exit, Position

SHOWN = 20


def page(request: HttpRequest) -> HttpResponse:
    """Return the page, which asks for its data every second."""
    return render(request, "board/page.html")


def data(_request: HttpRequest) -> JsonResponse:
    """Return what the page shows."""
    positions = Position.objects.filter(is_open=True).order_by("-id")[:SHOWN]
    exits = Exit.objects.select_related("position").order_by("-id")[:SHOWN]
    return JsonResponse(
        {
            "positions": [
                {"name": kept.name, "account": kept.token_account} for kept in positions
            ],
            "exits": [_row(kept) for kept in exits],
        }
    )


def _row(kept: Exit) -> dict[str, Any]:
    return {
        "name": kept.position.name,
        "reason": kept.reason,
        "profit": kept.profit_units,
        "at": kept.received_at.isoformat(),
    }
