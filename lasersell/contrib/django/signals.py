"""
A Django signal for each type of event, and one for all.

A receiver gets ``event``, the :class:`~lasersell.session.events.StreamEvent`, and
``session``, which can be asked and commanded; ``sender`` is the class of the message::

    @receiver(signals.exit_signal_with_tx)
    def sell(sender, event, session, **kwargs): ...

Receivers are called one after the other in the one process that leads, in a thread of
ours. One that raises is logged and reported to ``callback_error``; the next one still
runs. Database connections are then treated as after a request: closed, unless
``CONN_MAX_AGE`` says to keep them.
"""

from __future__ import annotations

from django.dispatch import Signal

from lasersell.contrib.worker import EVENT_TYPES

__all__ = [
    "SIGNALS",
    "balance_update",
    "callback_error",
    "command_expired",
    "connected",
    "disconnected",
    "error",
    "event",
    "exit_request_unanswered",
    "exit_signal_with_tx",
    "fresh",
    "gap",
    "hello_ok",
    "liquidity_snapshot",
    "mirror_buy_failed",
    "mirror_buy_signal",
    "mirror_wallet_auto_disabled",
    "pnl_update",
    "pong",
    "position_closed",
    "position_lost",
    "position_opened",
    "resynced",
    "stale",
    "trade_tick",
    "undecodable",
]

event = Signal()
"""Every event, also of types that this version does not know."""

# From the server.
hello_ok = Signal()
pong = Signal()
error = Signal()
balance_update = Signal()
position_opened = Signal()
position_closed = Signal()
exit_signal_with_tx = Signal()
pnl_update = Signal()
liquidity_snapshot = Signal()
trade_tick = Signal()
mirror_buy_signal = Signal()
mirror_buy_failed = Signal()
mirror_wallet_auto_disabled = Signal()

# Born on our side.
connected = Signal()
disconnected = Signal()
gap = Signal()
stale = Signal()
fresh = Signal()
resynced = Signal()
position_lost = Signal()
command_expired = Signal()
exit_request_unanswered = Signal()
undecodable = Signal()
callback_error = Signal()

SIGNALS: dict[str, Signal] = {name: globals()[name] for name in EVENT_TYPES}
"""The signal of each type of event."""
