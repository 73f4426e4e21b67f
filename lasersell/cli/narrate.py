"""What a person is told about an event of a session, in one line."""

from __future__ import annotations

from lasersell.cli.snapshot import Kind
from lasersell.protocol.server import (
    ExitSignalWithTx,
    MirrorBuyFailed,
    MirrorBuySignal,
    MirrorWalletAutoDisabled,
    PositionClosed,
    PositionOpened,
    ServerError,
)
from lasersell.session.events import StreamEvent
from lasersell.stream.lifecycle import (
    CommandExpired,
    Connected,
    Disconnected,
    ExitRequestUnanswered,
    Fresh,
    Gap,
    PositionLost,
    Stale,
    Undecodable,
)

__all__ = ["EVENT_TYPES", "narrate"]

_POSITION_MESSAGES = (
    PositionOpened,
    ExitSignalWithTx,
    PositionClosed,
    PositionLost,
    ExitRequestUnanswered,
)
_STREAM_MESSAGES = (Connected, Disconnected, Gap, Stale, Fresh)
_OTHER_MESSAGES = (
    ServerError,
    MirrorBuySignal,
    MirrorBuyFailed,
    MirrorWalletAutoDisabled,
    CommandExpired,
    Undecodable,
)

EVENT_TYPES = tuple(
    kind.type for kind in (*_POSITION_MESSAGES, *_STREAM_MESSAGES, *_OTHER_MESSAGES)
)
"""The types of events that there is something to say about."""


def narrate(event: StreamEvent) -> tuple[str, Kind] | None:
    """Return what to say about an event; None where there is nothing to say."""
    if isinstance(event.message, _POSITION_MESSAGES):
        return _about_position(event)
    if isinstance(event.message, _STREAM_MESSAGES):
        return _about_stream(event)
    return _about_rest(event)


def _about_position(event: StreamEvent) -> tuple[str, Kind] | None:
    name = _name(event)
    match event.message:
        case PositionOpened():
            if event.reopened:
                return f"{name} is still open", "plain"
            if event.deadline_overdue:
                return f"{name} opened, and is past its deadline already", "warning"
            return f"{name} opened", "plain"
        case ExitSignalWithTx(reason=reason, level_index=level):
            part = "" if level is None else f", level {level}"
            again = "" if event.exit_attempt == 1 else ", again"
            return f"{name} exit signal: {reason or 'no reason'}{part}{again}", "good"
        case PositionClosed(reason=reason):
            return f"{name} closed: {reason}", "plain"
        case PositionLost(reason=reason):
            why = {"not_reemitted": "gone while the stream was away"}.get(
                reason, reason
            )
            return f"{name} lost: {why}", "warning"
        case ExitRequestUnanswered(asks=asks):
            return f"{name}: its exit was asked for {asks} times, no answer", "bad"
    return None


def _about_stream(event: StreamEvent) -> tuple[str, Kind] | None:
    match event.message:
        case Connected(number=1):
            return "the stream is live", "good"
        case Connected(number=number):
            return f"the stream is back, connection {number}", "good"
        case Disconnected(cause=cause, delay=None):
            return f"the stream has ended: {cause}", "bad"
        case Disconnected(cause=cause):
            return f"the stream is lost: {cause}", "warning"
        case Gap(from_ms=from_ms, to_ms=to_ms):
            return f"nothing was heard for {(to_ms - from_ms) / 1000:.1f} s", "warning"
        case Stale(silent_sec=silent_sec):
            return f"the server has been silent for {silent_sec:.0f} s", "warning"
        case Fresh():
            return "the server speaks again", "good"
    return None


def _about_rest(event: StreamEvent) -> tuple[str, Kind] | None:
    match event.message:
        case ServerError(code=code, message=words):
            return f"the server says {code}: {words}", "bad"
        case MirrorBuySignal(mint=mint):
            return f"mirror buy of {mint}", "plain"
        case MirrorBuyFailed(mint=mint, reason=reason):
            return f"mirror buy of {mint} failed: {reason}", "warning"
        case MirrorWalletAutoDisabled(watched_wallet=wallet, reason=reason):
            return f"watched wallet {wallet} was disabled: {reason}", "warning"
        case CommandExpired(command=command, held_sec=held_sec):
            return f"{command.type} expired after {held_sec:.0f} s offline", "warning"
        case Undecodable(problem=problem):
            return f"a message could not be read: {problem}", "warning"
    return None


def _name(event: StreamEvent) -> str:
    handle = event.handle
    if handle is not None:
        return handle.token_symbol or handle.mint
    return str(getattr(event.message, "mint", None) or "a position")
