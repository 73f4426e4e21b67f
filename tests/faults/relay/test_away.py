from __future__ import annotations

import pytest

from lasersell._clock import Deadline
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay import Relay, RelayPolicy, backlog, term
from lasersell.relay.backlog import LowItem
from lasersell.relay.keys import Keys
from lasersell.relay.lease import Lease
from lasersell.relay.link import RedisLink
from tests.integration.relay.bench import Bench, until, wait_for
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


def _until_away(relay: Relay, tick: float = 0.02) -> None:
    deadline = Deadline(PATIENCE)
    while relay.stats().redis_away is None:
        assert not deadline.has_passed(), "nobody noticed"
        relay.wait_for_role("stopped", tick)


def _until_waiting(relay: Relay, count: int) -> None:
    deadline = Deadline(PATIENCE)
    while relay.stats().waiting < count:
        assert not deadline.has_passed(), relay.stats()
        relay.wait_for_role("stopped", 0.02)


def test_events_of_the_time_without_redis_come_afterwards_in_order(
    bench: Bench,
) -> None:
    """The stream goes on, its events wait, and a subscriber resumes where it was."""
    with bench.session(stale_after=1.0) as session, bench.relay() as relay:
        first = bench.buy()
        wait_for(session, "position_opened")
        bench.redis.kill()
        wait_for(session, "stale")
        assert session.state == "stale"
        later = [bench.buy() for _ in range(15)]
        _until_away(relay)
        assert bench.sim.connection_count == 1
        bench.redis.start()
        wait_for(session, "fresh")
        accounts = [
            wait_for(session, "position_opened").handle.token_account for _ in later
        ]
        assert accounts == [holding.token_account for holding in later]
        until(session, lambda: session.state == "live")
        assert len(session.positions()) == 16
        assert session.position_by_token_account(first.token_account) is not None
        assert relay.stats().terms == 1
        assert bench.sim.connection_count == 1


@pytest.mark.slow
def test_events_that_memory_has_no_room_for_wait_on_the_disk(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Past the bound they go to a file, and still come in order."""
    policy = RelayPolicy(backlog=5)
    with bench.session() as session, bench.relay(policy=policy) as relay:
        wait_for(session, "hello_ok")
        bench.redis.kill()
        _until_away(relay)
        later = [bench.buy() for _ in range(15)]
        _until_waiting(relay, 15)
        assert relay.stats().on_disk >= 8
        assert "now wait on the disk" in caplog.text
        bench.redis.start()
        accounts = [
            wait_for(session, "position_opened").handle.token_account for _ in later
        ]
        assert accounts == [holding.token_account for holding in later]
        assert relay.stats().on_disk == 0


@pytest.mark.slow
def test_a_redis_that_hangs_counts_as_away(bench: Bench) -> None:
    """One that takes connections and answers nothing is noticed within its time-out."""
    with bench.session(stale_after=1.0) as session, bench.relay() as relay:
        wait_for(session, "hello_ok")
        with bench.redis.frozen():
            wait_for(session, "stale")
            _until_away(relay)
            bench.buy()
        wait_for(session, "position_opened")
        assert bench.sim.connection_count == 1


def test_a_redis_that_forgot_everything_is_told_again(bench: Bench) -> None:
    """Positions, groups and the lease are there again after a restart without memory."""
    with (
        bench.session(group="g") as session,
        bench.relay(),
    ):
        holding = bench.buy()
        wait_for(session, "position_opened")
        with bench.redis.client() as client:
            client.flushall()
        bench.buy()
        wait_for(session, "gap")
        until(session, lambda: len(session.positions()) == 2)
        bench.trigger(holding)
        signal = wait_for(session, "exit_signal_with_tx")
        assert signal.handle.token_account == holding.token_account
        with bench.session() as late:
            assert len(late.positions()) == 2


@pytest.mark.slow
def test_who_leads_comes_back_before_a_stand_by(bench: Bench) -> None:
    """After Redis was away longer than the lease, the leader with its events goes on."""
    policy = RelayPolicy(lease=3.0)
    with (
        bench.session() as session,
        bench.relay(policy=policy) as leader,
        bench.relay(policy=policy) as stand_by,
    ):
        assert leader.wait_for_role("leading", PATIENCE)
        wait_for(session, "hello_ok")
        bench.redis.kill()
        _until_away(leader)
        holding = bench.buy()
        assert not stand_by.wait_for_role("leading", 4.0)
        bench.redis.start()
        opened = wait_for(session, "position_opened")
        assert opened.handle.token_account == holding.token_account
        assert (leader.stats().terms, stand_by.stats().terms) == (1, 0)


@pytest.mark.slow
def test_a_stand_by_lets_the_leader_come_back_first(bench: Bench) -> None:
    """It waits for one lease after Redis was away, though nobody holds any."""
    link = RedisLink(bench.redis.url)
    other = Lease(link, Keys("default"), "other", 60.0)
    assert other.acquire()
    with bench.relay(policy=RelayPolicy(lease=3.0)) as relay:
        assert not relay.wait_for_role("leading", 0.5)
        bench.redis.kill()
        assert not relay.wait_for_role("leading", 1.0)
        bench.redis.start()
        with bench.redis.client() as client:
            client.delete(Keys("default").lease)
        assert not relay.wait_for_role("leading", 1.5)
        assert relay.wait_for_role("leading", PATIENCE)
    link.close()


@pytest.mark.slow
def test_without_redis_for_too_long_the_stream_is_given_up(bench: Bench) -> None:
    """Another publisher, which may reach Redis, can have it then."""
    policy = RelayPolicy(give_up_after=0.5)
    with bench.relay(policy=policy) as relay:
        assert relay.wait_for_role("leading", PATIENCE)
        bench.sim.wait_for_connections(1)
        bench.redis.kill()
        assert relay.wait_for_role("stand-by", PATIENCE)
        bench.sim.wait_for_connections(0, timeout=PATIENCE)
        bench.redis.start()
        assert relay.wait_for_role("leading", PATIENCE)


def test_a_publisher_ends_though_redis_is_away(bench: Bench) -> None:
    """close() waits for Redis as long as it was told, and no longer."""
    with bench.relay() as relay:
        assert relay.wait_for_role("leading", PATIENCE)
        bench.redis.kill()
        _until_away(relay)
        bench.buy()
        relay.close(timeout=0.5)
        assert relay.wait_for_role("stopped", PATIENCE)


def test_an_event_that_was_being_written_counts_as_not_written(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the publisher is told of it like of those that wait behind it."""
    # So that it is an event that finds Redis away.
    monkeypatch.setattr(term, "CHECK_SEC", 600.0)
    with bench.session() as session, bench.relay() as relay:
        wait_for(session, "hello_ok")
        bench.redis.kill()
        bench.buy()
        _until_away(relay)
        leading = relay._term
        assert leading is not None
        relay.close(timeout=0.1)
    lost = leading.highs.put_count - relay.stats().high_published
    assert f"{lost} events of this publisher were not written" in caplog.text


def test_low_events_that_wait_hold_up_no_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that hangs may take its time for each; close() says how long for all."""
    monkeypatch.setattr(term, "CHECK_SEC", 600.0)
    monkeypatch.setattr(backlog, "BATCH", 1)
    with bench.relay(redis_options={"socket_timeout": 0.3}) as relay:
        with bench.session() as session:
            wait_for(session, "hello_ok")
            # A stream that is down has no high event of its end, on which to give up.
            bench.sim.refuse_upgrades(503)
            bench.sim.drop()
            wait_for(session, "disconnected")
        leading = relay._term
        assert leading is not None
        with bench.redis.frozen():
            leading.lows.put([LowItem(b"{}", 0.0, None, "epoch")] * 500)
            relay.close(timeout=0.5)
            assert relay.wait_for_role("stopped", PATIENCE)


def test_a_signal_that_dies_with_its_leader_is_born_again(bench: Bench) -> None:
    """The next publisher's stream looks at the open positions anew."""
    strategy = StrategyConfig(target_profit_pct=5.0)
    with bench.session(group="g") as worker:
        with bench.relay(strategy=strategy) as first:
            holding = bench.buy()
            wait_for(worker, "position_opened")
            bench.redis.kill()
            _until_away(first)
            bench.trigger(holding)
            bench.sim.sent.wait_for(ExitSignalWithTx, timeout=PATIENCE)
            _until_waiting(first, 1)
            first.close(timeout=0.1)
        bench.redis.start()
        with bench.relay(strategy=strategy):
            signal = wait_for(worker, "exit_signal_with_tx")
            assert signal.handle.token_account == holding.token_account
            assert signal.exit_attempt == 1
    assert len(bench.sim.sent.of(ExitSignalWithTx)) == 2


def test_events_that_a_crash_of_redis_took_away_are_written_again(
    bench: Bench,
) -> None:
    """What it had acknowledged and forgotten comes again, once, with the same id."""
    with bench.session() as session, bench.relay():
        wait_for(session, "hello_ok")
        holding = bench.buy()
        first = wait_for(session, "position_opened")
        with bench.redis.client() as client:
            # As after a crash between two fsyncs: the last entry is gone, and so is the
            # memory of it.
            (entry,) = client.xrevrange(Keys("default").high, count=1)
            client.xdel(Keys("default").high, entry[0])
            client.hincrby(Keys("default").meta, "written", -1)
        bench.buy()
        with bench.session() as late:
            until(late, lambda: len(late.positions()) == 2)
        with bench.redis.client() as client:
            ids = [fields[b"i"] for _, fields in client.xrange(Keys("default").high)]
        assert ids.count(first.id.encode()) == 1
        assert len(ids) == len(set(ids))
        assert session.position_by_token_account(holding.token_account) is not None


def test_a_publisher_with_no_room_left_ends(bench: Bench) -> None:
    """Also while what collects its events waits for room."""
    policy = RelayPolicy(backlog=1, backlog_bytes=1)
    with bench.session() as session, bench.relay(policy=policy) as relay:
        wait_for(session, "hello_ok")
        bench.redis.kill()
        _until_away(relay)
        for _ in range(5):
            bench.buy()
        deadline = Deadline(PATIENCE)
        while not relay.stats().is_held_back:
            assert not deadline.has_passed(), relay.stats()
            relay.wait_for_role("stopped", 0.02)
        relay.close(timeout=0.1)
        assert relay.wait_for_role("stopped", PATIENCE)


def test_a_signal_that_waits_for_its_turn_is_not_lost_with_redis(bench: Bench) -> None:
    """A worker to which it was given before Redis went away still hands it over."""
    with bench.signal_behind_others() as (observer, worker, holding):
        until(observer, Deadline(1.0).has_passed)
        bench.redis.kill()
        # Longer than the time in which a worker says again that it lives.
        until(observer, lambda: observer.stats().silent > 2.0)
        bench.redis.start()
        signal = wait_for(worker, "exit_signal_with_tx")
        assert signal.handle.token_account == holding.token_account
