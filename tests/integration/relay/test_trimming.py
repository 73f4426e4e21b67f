from __future__ import annotations

from typing import Any

import pytest

from lasersell._clock import Deadline
from lasersell.protocol.server import BalanceUpdate
from lasersell.relay import Relay, RelayPolicy, feed
from lasersell.relay.keys import Keys
from lasersell.relay.link import RedisLink
from lasersell.relay.scripts import TRIM
from tests.integration.relay.bench import Bench, wait_for
from tests.integration.relay.redis_server import RedisServer
from tests.patience import PATIENCE
from tests.unit.session.frames import WALLET

KEYS = Keys("default")


def _trim(server: RedisServer, *, keep: int, max_age: int, most: int = 100_000) -> int:
    link = RedisLink(server.url)
    try:
        return int(link.run(TRIM, [KEYS.high], [keep, max_age, most]))
    finally:
        link.close()


def _add(client: Any, *ages_ms: int) -> list[bytes]:
    """Add entries of these ages, the oldest first; return their ids."""
    seconds, micros = client.time()
    now = 1000 * seconds + micros // 1000
    return [
        client.xadd(KEYS.high, {"e": "x"}, id=f"{now - age}-1")
        for age in sorted(ages_ms, reverse=True)
    ]


def _left(client: Any) -> list[bytes]:
    return [entry for entry, _ in client.xrange(KEYS.high)]


def test_what_all_groups_have_dealt_with_is_trimmed(redis_server: RedisServer) -> None:
    """What is younger than the time it is kept stays all the same."""
    with redis_server.client() as client:
        ids = _add(client, 90_000, 80_000, 1_000)
        client.xgroup_create(KEYS.high, "g", "0")
        client.xreadgroup("g", "w", {KEYS.high: ">"})
        client.xack(KEYS.high, "g", *ids)
        assert _trim(redis_server, keep=60_000, max_age=3_600_000) == 0
        assert _left(client) == ids[2:]


def test_what_a_group_has_pending_is_not_trimmed(redis_server: RedisServer) -> None:
    """Nothing from its oldest pending entry on, though another group is done."""
    with redis_server.client() as client:
        ids = _add(client, 90_000, 80_000, 70_000)
        for group in ("slow", "quick"):
            client.xgroup_create(KEYS.high, group, "0")
            client.xreadgroup(group, "w", {KEYS.high: ">"})
        client.xack(KEYS.high, "quick", *ids)
        client.xack(KEYS.high, "slow", ids[0], ids[2])
        assert _trim(redis_server, keep=60_000, max_age=3_600_000) == 0
        assert _left(client) == ids[1:]
        assert client.xpending(KEYS.high, "slow")["pending"] == 1


def test_what_a_group_was_not_handed_yet_is_not_trimmed(
    redis_server: RedisServer,
) -> None:
    """A group that nobody reads keeps everything since it was made."""
    with redis_server.client() as client:
        ids = _add(client, 90_000, 80_000, 70_000)
        client.xgroup_create(KEYS.high, "g", "0")
        client.xreadgroup("g", "w", {KEYS.high: ">"}, count=1, noack=True)
        assert _trim(redis_server, keep=60_000, max_age=3_600_000) == 0
        assert _left(client) == ids[1:]


@pytest.mark.parametrize(
    ("max_age", "most", "left"), [(85_000, 100_000, 2), (3_600_000, 1, 1)]
)
def test_what_is_too_old_or_too_much_is_dropped_and_counted(
    redis_server: RedisServer, max_age: int, most: int, left: int
) -> None:
    """Redis must not fill up for a group that is gone; how many is told."""
    with redis_server.client() as client:
        ids = _add(client, 90_000, 80_000, 70_000)
        client.xgroup_create(KEYS.high, "g", "0")
        dropped = _trim(redis_server, keep=60_000, max_age=max_age, most=most)
        assert dropped == 3 - left
        assert _left(client) == ids[3 - left :]


def test_a_subscriber_that_missed_events_learns_what_is_true(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of a gap, and gets the positions that are open now."""
    # Or a late one would have read them all at once before they are gone.
    monkeypatch.setattr(feed, "READ_AT_ONCE", 2)
    with bench.session(high_capacity=4) as session, bench.relay():
        wait_for(session, "hello_ok")
        held = [bench.buy() for _ in range(15)]
        gone = held.pop(0)
        bench.sim.sell(gone)
        with bench.session() as other:
            while len(other.positions()) != 14:
                other.recv(timeout=PATIENCE)
        with bench.redis.client() as client:
            client.xtrim(KEYS.high, maxlen=0)
        bench.buy()
        wait_for(session, "gap")
        deadline = Deadline(PATIENCE)
        while len(session.positions()) != 15:
            assert not deadline.has_passed(), session.positions()
            session.recv(timeout=PATIENCE)
        assert session.position_by_token_account(gone.token_account) is None


def _balance(number: int) -> BalanceUpdate:
    return BalanceUpdate(wallet_pubkey=WALLET, mint=WALLET, tokens=number, slot=1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_memory_of_redis_is_bounded_at_full_flood(bench: Bench) -> None:
    """A group that nobody reads, both lanes at full speed: it grows no further."""
    policy = RelayPolicy(max_high=2_000, max_low=100, keep=0.5)
    with bench.redis.client() as client, bench.relay(policy=policy) as relay:
        assert relay.wait_for_role("leading", PATIENCE)
        bench.buy()
        client.xgroup_create(KEYS.high, "nobody", "0", mkstream=True)

        def flood(highs: int) -> int:
            """Publish so many high events beside low ones; return the memory used."""
            goal = relay.stats().high_published + highs
            with_lows = bench.sim.flood(rate=5_000)
            with_highs = bench.sim.flood([_balance(n) for n in range(100)], rate=5_000)
            _until_published(relay, goal)
            for each in (with_lows, with_highs):
                each.stop()
                each.wait()
            relay.wait_for_role("stopped", 2.5)  # the next trims
            return int(client.info("memory")["used_memory_dataset"])

        first = flood(10_000)
        second = flood(30_000)
        assert second < first + 2_000_000
        assert client.xlen(KEYS.high) <= 2_000
        assert client.xlen(KEYS.low) <= 100
        assert client.hlen(KEYS.latest) <= 2
        assert relay.stats().unread_dropped >= 30_000


def _until_published(relay: Relay, count: int) -> None:
    deadline = Deadline(60.0)
    while relay.stats().high_published < count:
        assert not deadline.has_passed(), relay.stats()
        relay.wait_for_role("stopped", 0.05)
