"""
When to ping, when the stream is stale, when the peer is dead. Pure.

Any inbound byte is life. While positions are open and their frames were
flowing, silence is suspicious within seconds; otherwise it is normal, and an
idle connection is only probed now and then.
"""

from __future__ import annotations

from enum import Flag, auto

__all__ = ["Action", "Heartbeat"]

FLOW_SILENCE_MIN = 2.0
FLOW_PATIENCE = 3.0
IDLE_PING_AFTER = 15.0
STALE_PATIENCE = 10.0


class Action(Flag):
    """What is to be done now."""

    NOTHING = 0
    PROTOCOL_PING = auto()
    APPLICATION_PING = auto()
    REPORT_STALE = auto()
    RECONNECT = auto()


class Heartbeat:
    """
    The liveness of one connection. All times are monotonic seconds.

    Not thread-safe: the supervisor owns it.

    Args:
        now: The moment the connection became live.
        ping_interval: Seconds between application pings, which measure the
            round trip and feed the server's idle timer.
        stale_after: Seconds of silence until the stream counts as stale.
        pnl_flush_ms: The server's flush interval, of ``hello_ok.limits``.
    """

    def __init__(
        self, now: float, *, ping_interval: float, stale_after: float, pnl_flush_ms: int
    ) -> None:
        self._ping_interval = ping_interval
        self._stale_after = stale_after
        self._flow_silence = max(FLOW_SILENCE_MIN, 5 * pnl_flush_ms / 1000)
        self._idle_ping_after = min(IDLE_PING_AFTER, stale_after / 2)
        self._next_application_ping = now + ping_interval
        self._excused_until = now
        self._silent_since = now
        self._pinged_at: float | None = None
        self._stale = False

    def is_flow(self, last_byte: float, last_low: float, open_positions: int) -> bool:
        """Tell whether low frames were flowing when the silence began."""
        return open_positions > 0 and last_byte - last_low < self._flow_silence

    def check(
        self, now: float, last_byte: float, *, flowing: bool, held_back: bool
    ) -> Action:
        """
        Return what is to be done at ``now``.

        Args:
            now: The present.
            last_byte: When the last byte came in.
            flowing: The answer of :meth:`is_flow`.
            held_back: Whether the reader is not reading because the high lane is
                full; that silence is ours, not the peer's.
        """
        action = Action.NOTHING
        if now >= self._next_application_ping:
            self._next_application_ping = now + self._ping_interval
            action |= Action.APPLICATION_PING
        if held_back:
            self._excused_until = now
        since = max(last_byte, self._excused_until)
        if since != self._silent_since:
            self._silent_since, self._pinged_at, self._stale = since, None, False
        silent = now - since
        ping_after, patience = self._patience(flowing)
        if self._pinged_at is None:
            if silent >= ping_after:
                self._pinged_at = now
                action |= Action.PROTOCOL_PING
        elif now - self._pinged_at >= patience and silent >= ping_after + patience:
            return action | Action.RECONNECT
        if silent >= self._stale_after and not self._stale:
            self._stale = True
            action |= Action.REPORT_STALE
        return action

    def next_check(self, now: float, *, flowing: bool) -> float:
        """Return the seconds from ``now`` until :meth:`check` may have something to do."""
        ping_after, patience = self._patience(flowing)
        due = [self._next_application_ping]
        if self._pinged_at is None:
            due.append(self._silent_since + ping_after)
        else:
            due.append(max(self._pinged_at, self._silent_since + ping_after) + patience)
        if not self._stale:
            due.append(self._silent_since + self._stale_after)
        return max(0.0, min(due) - now)

    def _patience(self, flowing: bool) -> tuple[float, float]:
        if flowing:
            return self._flow_silence, FLOW_PATIENCE
        ping_after = self._idle_ping_after
        return ping_after, self._stale_after + STALE_PATIENCE - ping_after
