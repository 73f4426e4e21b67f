from __future__ import annotations

import gc
import queue
from typing import Any

import msgspec
import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import ConcurrencyError, ConfigurationError, ForkedError
from lasersell.relay import RelaySession
from lasersell.relay.codec import HighEntry, to_json
from lasersell.relay.keys import Keys
from lasersell.session.events import StreamEvent
from tests.faults.processes import run_in_fork
from tests.integration.relay.bench import Bench, until, wait_for
from tests.integration.relay.redis_server import RedisServer
from tests.patience import PATIENCE
from tests.unit.session.frames import WALLET

pytestmark = pytest.mark.slow


def test_a_subscriber_gets_the_events_of_the_publisher(bench: Bench) -> None:
    """What the stream says arrives elsewhere as the same events, with their position."""
    with bench.session() as session, bench.relay():
        hello = wait_for(session, "hello_ok")
        assert session.session_id == hello.message.session_id
        holding = bench.buy()
        opened = wait_for(session, "position_opened")
        assert opened.handle.token_account == holding.token_account
        assert session.positions() == [opened.handle]
        bench.sim.sell(holding)
        closed = wait_for(session, "position_closed")
        assert closed.handle is opened.handle
        assert closed.handle.status == "closed"
        assert session.positions() == []


def test_profits_arrive_and_belong_to_their_position(bench: Bench) -> None:
    """A low event finds its position by the id of the present connection."""
    with bench.session() as session, bench.relay():
        bench.buy(profits_pct=[1.0, 2.0, 3.0])
        opened = wait_for(session, "position_opened")
        pnl = wait_for(session, "pnl_update", lambda event: event.handle is not None)
        assert pnl.handle is opened.handle
        assert session.pnl(opened.handle.position_id) is not None
        wait_for(session, "pnl_update", lambda event: event.handle.pnl_pct > 2.5)
        assert opened.handle.peak_pnl_pct == pytest.approx(3.0, abs=0.5)


def test_who_comes_late_knows_what_is_true_now(bench: Bench) -> None:
    """The snapshot has the open positions, with their latest profit."""
    with bench.relay(), bench.session() as early:
        gone, held = bench.buy(), bench.buy(profits_pct=[7.0])
        for _ in range(2):
            wait_for(early, "position_opened")
        bench.sim.sell(gone)
        wait_for(early, "position_closed")
        wait_for(
            early,
            "pnl_update",
            lambda e: e.handle and e.handle.token_account == held.token_account,
        )
        with bench.session() as late:
            (known,) = late.positions()
            assert known.token_account == held.token_account
            assert known.pnl is not None
            assert late.state == "live"
            assert late.limits == early.limits is not None
            assert late.recv(timeout=PATIENCE).handle is known  # type: ignore[union-attr]
            bench.sim.sell(held)
            assert wait_for(late, "position_closed").handle is known


def test_callbacks_and_lookups_work_as_in_a_stream_session(bench: Bench) -> None:
    """Code written for a StreamSession runs over a relay."""
    opened = queue.SimpleQueue[StreamEvent]()
    with bench.session() as session, bench.relay():
        session.on("position_opened", opened.put)
        session.start()
        holding = bench.buy()
        handle = opened.get(timeout=PATIENCE).handle
        assert handle is not None
        assert session.position_by_token_account(holding.token_account) is handle
        assert session.position(handle.position_id) is handle
        assert session.positions_for_wallet_mint(holding.wallet, holding.mint) == [
            handle
        ]


def test_every_subscriber_without_a_group_sees_every_signal(bench: Bench) -> None:
    """Two of them both get the exit, the first attempt of its kind."""
    with bench.relay(), bench.session() as one, bench.session() as two:
        holding = bench.buy()
        wait_for(one, "position_opened")
        bench.trigger(holding)
        ids = set()
        for session in (one, two):
            signal = wait_for(session, "exit_signal_with_tx")
            assert signal.exit_attempt == 1
            assert signal.handle.token_account == holding.token_account
            ids.add(signal.id)
        assert len(ids) == 1


def test_a_session_ends_while_redis_has_nothing_to_say(bench: Bench) -> None:
    """close() ends a read that waits in Redis, and the next recv() returns None."""
    with bench.session() as session:
        started = SYSTEM_CLOCK.monotonic()
        session.close()
        assert SYSTEM_CLOCK.monotonic() - started < 3.0
        assert session.recv(timeout=PATIENCE) is None
        assert session.state == "closed"


def test_a_session_ends_in_time_though_redis_hangs(bench: Bench) -> None:
    """close() does not wait for an answer longer than it was told."""
    with bench.session(group="g") as session, bench.redis.frozen():
        started = SYSTEM_CLOCK.monotonic()
        session.close(timeout=0.5)
        assert SYSTEM_CLOCK.monotonic() - started < 5.0


def test_a_publisher_that_closes_writes_what_it_has_first(bench: Bench) -> None:
    """What the stream brought before close() arrives, and the lease is given up."""
    with bench.session() as session, bench.relay() as relay:
        wait_for(session, "hello_ok")
        bench.buy()
        wait_for(session, "position_opened")
        relay.close()
        wait_for(session, "disconnected")
        assert relay.role == "stopped"
        with bench.redis.client() as client:
            assert client.get(Keys("default").lease) is None


def test_the_counters_tell_how_it_goes(bench: Bench) -> None:
    """What was delivered, what waits, and for how long the publisher was silent."""
    with bench.session() as session, bench.relay() as relay:
        wait_for(session, "hello_ok")
        bench.buy()
        wait_for(session, "position_opened")
        until(session, lambda: relay.stats().high_published >= 3)
        stats = session.stats()
        assert stats.state == "live"
        assert stats.high.delivered >= 3
        assert not stats.is_held_back
        assert stats.silent < PATIENCE
        assert stats.given_up == 0
        assert relay.stats().token is not None


def test_a_session_that_is_dropped_ends_and_says_so(redis_server: RedisServer) -> None:
    """Its threads hold none of it, so it is collected, with a warning."""
    held = [RelaySession.connect(redis_server.url)]

    def drop() -> None:
        held.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="dropped without close"):
        drop()


def test_a_session_cannot_be_used_in_a_forked_child(bench: Bench) -> None:
    """The child is told to connect again, and the parent's session goes on."""
    with bench.session() as session, bench.relay():
        wait_for(session, "hello_ok")

        def use() -> dict[str, Any]:
            told = {}
            try:
                session.recv(timeout=PATIENCE)
            except ForkedError as error:
                told["recv"] = str(error)
            try:
                session.update_wallets([WALLET])
            except ForkedError as error:
                told["command"] = str(error)
            session.close()
            return told

        told = run_in_fork(use)
        assert "connect again" in told["recv"]
        assert "connect again" in told["command"]
        bench.buy()
        wait_for(session, "position_opened")


def test_one_session_is_for_one_consumer(bench: Bench) -> None:
    """As in a StreamSession: either callbacks or recv()."""
    with bench.session() as session:
        session.start()
        with pytest.raises(ConcurrencyError):
            session.recv(timeout=0)


def test_a_subscriber_that_is_slow_holds_nobody_back(bench: Bench) -> None:
    """Past its bound it reads no more; the others go on, and it catches up in order."""
    with (
        bench.relay(),
        bench.session(high_capacity=2) as slow,
        bench.session() as quick,
    ):
        holdings = [bench.buy() for _ in range(12)]
        for holding in holdings:
            assert (
                wait_for(quick, "position_opened").handle.token_account
                == holding.token_account
            )
        for holding in holdings:
            assert (
                wait_for(slow, "position_opened").handle.token_account
                == holding.token_account
            )


def test_a_subscriber_that_is_slow_does_not_call_the_publisher_silent(
    bench: Bench,
) -> None:
    """It was not heard because nothing was read."""
    with bench.session(high_capacity=2, stale_after=5.0) as session, bench.relay():
        for _ in range(12):
            bench.buy()
        bench.sim.wait_until(lambda: session.stats().silent > 5.5, PATIENCE)
        assert session.stats().is_held_back
        last, account, types = bench.buy(), "", []
        while account != last.token_account:
            event = session.recv(timeout=PATIENCE)
            assert event is not None
            account = "" if event.handle is None else event.handle.token_account
            types.append(event.type)
        assert "stale" not in types


def test_a_subscriber_that_is_behind_can_be_closed(bench: Bench) -> None:
    """Also while there is room again, though not for all that waits for it."""
    with bench.session(high_capacity=4) as session, bench.relay():
        for _ in range(12):
            bench.buy()
        bench.sim.wait_until(lambda: session.stats().is_held_back, PATIENCE)
        # What the second call returns is still in the lane; the first is not.
        assert [session.recv(timeout=0) for _ in range(2)]
        started = SYSTEM_CLOCK.monotonic()
        session.close(timeout=PATIENCE)
        assert SYSTEM_CLOCK.monotonic() - started < PATIENCE / 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"worker": "w"}, "without a group"),
        ({"group": "a b"}, "group must be"),
        ({"name": ""}, "name must be"),
        ({"stale_after": 0}, "stale_after"),
        ({"max_deliveries": 0}, "max_deliveries"),
        ({"high_capacity": 0}, "high_capacity"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, Any], words: str) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match=words):
        RelaySession.connect("redis://localhost:1", **options)


def test_more_open_positions_than_the_lane_has_room_for(bench: Bench) -> None:
    """connect() returns all the same, though nobody can take an event before it does."""
    with bench.relay(), bench.session() as early:
        for _ in range(3):
            bench.buy()
            wait_for(early, "position_opened")
        with bench.session(high_capacity=1) as late:
            assert len(late.positions()) == 3
            for _ in range(3):
                wait_for(late, "position_opened")


def test_an_event_that_cannot_be_read_takes_no_other_with_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """What another version wrote is skipped; the signal after it comes."""
    keys = Keys("default")
    with bench.relay(), bench.session() as session:
        holding = bench.buy()
        wait_for(session, "position_opened")
        entry = HighEntry(msgspec.Raw(b"{}"), 0.0, "epoch", born_here="of the future")
        with bench.redis.client() as client:
            number = client.hincrby(keys.meta, "sequence", 1)
            token = client.hget(keys.meta, "token")
            fields = {"e": to_json(entry), "i": "source:1", "n": number, "t": token}
            client.xadd(keys.high, fields)
        bench.trigger(holding)
        signal = wait_for(session, "exit_signal_with_tx")
        assert signal.handle.token_account == holding.token_account
        assert "is skipped" in caplog.text
