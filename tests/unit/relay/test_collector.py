from __future__ import annotations

from typing import cast

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay.backlog import BATCH, HighBacklog, LowBacklog
from lasersell.relay.codec import record_of
from lasersell.relay.collector import Collector
from lasersell.relay.intent import StoredIntent
from lasersell.relay.link import RedisClock
from lasersell.relay.snapshot import Snapshot
from lasersell.session.events import Arrival, StreamEvent
from lasersell.session.positions import PositionHandle
from lasersell.session.session import StreamSession
from lasersell.stream.lifecycle import Connected
from lasersell.stream.options import StreamConfigure
from tests.patience import PATIENCE
from tests.unit.session.frames import WALLET, opened, pnl


class _Flood:
    """A session that connects once, and whose low events never pause from then on."""

    def __init__(self) -> None:
        self.count = 0

    def let_low_gather(self, seconds: float) -> None:
        """Gather nothing: there is always one."""

    def recv(self, _: float | None = None) -> StreamEvent:
        """Return the next event at once."""
        self.count += 1
        message = pnl() if self.count > 1 else Connected(number=1, attempts=1)
        return StreamEvent(message, None, Arrival(SYSTEM_CLOCK.monotonic(), None))


def test_low_events_without_end_hold_nothing_up() -> None:
    """What is due is done, they are passed on, and what is lost is reported."""
    session, highs, lows = _Flood(), HighBacklog(100, 1000), LowBacklog(10 * BATCH)
    left = record_of(PositionHandle(opened(), 0.0), "key", "epoch", {})
    collector = Collector(
        cast(StreamSession, session),
        highs,
        lows,
        RedisClock(),
        "source",
        Snapshot(
            high=b"0-0",
            low=b"0-0",
            sequence=0,
            token=1,
            state=b"",
            positions=(left,),
            latest={},
        ),
        StoredIntent(
            {}, StreamConfigure([WALLET], StrategyConfig(target_profit_pct=5.0))
        ),
        resync_window=0.0,
    )
    lost, deadline = b"", Deadline(PATIENCE)
    while b"position_lost" not in lost:
        assert not deadline.has_passed()
        collector.collect(0.01)
        lost += b"".join(item.payload for item in highs.take())
    assert session.count > 1
    while session.count <= 2 * BATCH:
        collector.collect(0.01)
    lows.note_written(highs.put_count)
    assert len(lows.take(0.0)) == BATCH
