"""What happens with an event; called in the one process that has the stream."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from board.models import Exit, Position
from lasersell.contrib.django import signals
from lasersell.session.events import StreamEvent
from lasersell.session.positions import PositionHandle

WHOLE = -1
"""The level of an exit that sells everything."""


@receiver(signals.position_opened)
def keep_position(event: StreamEvent, **_: Any) -> None:
    """Keep a position; after a reconnect it is named again."""
    assert event.handle is not None
    position(event.handle)


@receiver(signals.position_closed)
def close_position(event: StreamEvent, **_: Any) -> None:
    """Note that a position is over."""
    if event.handle is not None:
        kept = position(event.handle)
        kept.is_open = False
        kept.save()


@receiver(signals.exit_signal_with_tx)
def keep_exit(event: StreamEvent, **_: Any) -> None:
    """Keep an exit, once; here is where its transaction would be signed and sent."""
    signal: Any = event.message
    assert event.handle is not None
    # The same exit comes again with a fresh transaction, or after a take-over.
    Exit.objects.get_or_create(
        position=position(event.handle),
        level=WHOLE if signal.level_index is None else signal.level_index,
        defaults={"reason": signal.reason or "", "profit_units": signal.profit_units},
    )


def position(handle: PositionHandle) -> Position:
    """Return the position that a handle is about, kept from now on."""
    kept, _ = Position.objects.get_or_create(
        token_account=handle.token_account,
        opened_at_ms=handle.opened_at_ms or 0,
        defaults={"name": handle.token_symbol or handle.mint},
    )
    return kept
