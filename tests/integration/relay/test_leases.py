from __future__ import annotations

from collections.abc import Iterator

import pytest

from lasersell.errors import AuthenticationError, RelayError
from lasersell.relay import RelayPolicy
from lasersell.relay.keys import Keys
from lasersell.relay.lease import Lease
from lasersell.relay.link import RedisLink
from lasersell.relay.scripts import ACQUIRE, PUBLISH, PUBLISH_LOW
from lasersell.relay.term import Term
from tests.integration.relay.bench import Bench, until, wait_for
from tests.integration.relay.redis_server import RedisServer
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

KEYS = Keys("default")


def _lease(link: RedisLink, owner: str, ttl: float = 30.0) -> Lease:
    return Lease(link, KEYS, owner, ttl)


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[RedisLink]:
    """Return a way to Redis that ends with the test."""
    link = RedisLink(redis_server.url)
    yield link
    link.close()


@pytest.fixture
def lease(link: RedisLink) -> Lease:
    """Return one that is held."""
    lease = _lease(link, "one")
    assert lease.acquire()
    return lease


def _publish(
    link: RedisLink, value: str, token: str, source: str = "s", number: int = 1
) -> int:
    """Write one high event as a publisher does; return whether Redis took it."""
    keys = [KEYS.lease, KEYS.meta, KEYS.high, KEYS.positions, KEYS.latest]
    arguments = [value, token, source, number, "payload", "", ""]
    return int(link.run(PUBLISH, keys, arguments))


def _publish_low(link: RedisLink, lease: str, *latest: str) -> int:
    """Write low events as a publisher does; return whether Redis took them."""
    keys = [KEYS.lease, KEYS.meta, KEYS.low, KEYS.positions, KEYS.latest]
    return int(link.run(PUBLISH_LOW, keys, [lease, "1", 10, "payload", "", *latest]))


def _lose(server: RedisServer) -> None:
    """Have a lease expire."""
    with server.client() as client:
        client.delete(KEYS.lease)


def test_only_one_publisher_gets_the_lease(link: RedisLink) -> None:
    """The second one does not get it while the first one has it."""
    one, two = _lease(link, "one"), _lease(link, "two")
    assert one.acquire()
    assert not two.acquire()
    assert one.renew()
    one.release()
    assert two.acquire()


def test_each_leader_has_a_greater_token(
    redis_server: RedisServer, link: RedisLink
) -> None:
    """Also after a restart of Redis that forgot the last token."""
    tokens = []
    for _ in range(3):
        lease = _lease(link, "one")
        assert lease.acquire()
        tokens.append(int(lease.token))
        with redis_server.client() as client:
            client.flushall()
    assert tokens == sorted(set(tokens))


def test_a_clock_that_was_set_back_lowers_no_token(
    redis_server: RedisServer, link: RedisLink
) -> None:
    """The last token counts too, not only the time."""
    with redis_server.client() as client:
        client.hset(KEYS.meta, "token", "9000000000000000")
    lease = _lease(link, "one")
    assert lease.acquire()
    assert int(lease.token) == 9000000000000001


def test_a_write_of_a_former_leader_is_not_taken(
    redis_server: RedisServer, link: RedisLink
) -> None:
    """The token is compared in the script of the write itself."""
    one, two = _lease(link, "one"), _lease(link, "two")
    assert one.acquire()
    former, token = one.value, one.token
    assert _publish(link, former, token) == 1
    _lose(redis_server)
    assert _publish(link, former, token) == 0
    assert two.acquire()
    assert _publish(link, former, token) == 0
    assert _publish(link, two.value, two.token, "t") == 1
    with redis_server.client() as client:
        assert client.xlen(KEYS.high) == 2


def test_low_events_of_a_former_leader_are_not_taken(
    redis_server: RedisServer, link: RedisLink
) -> None:
    """Their script compares the token too."""
    one, two = _lease(link, "one"), _lease(link, "two")
    assert one.acquire()
    former = one.value
    assert _publish_low(link, former) == 1
    _lose(redis_server)
    assert two.acquire()
    assert _publish_low(link, former) == 0
    with redis_server.client() as client:
        assert client.xlen(KEYS.low) == 1


def test_what_comes_late_of_a_position_that_has_ended_is_not_kept(
    redis_server: RedisServer,
    link: RedisLink,
    lease: Lease,
) -> None:
    """Nobody would remove it; of an open one the latest is there."""
    with redis_server.client() as client:
        client.hset(KEYS.positions, "open", "record")
        latest = ["open", "open pnl_update", "a", "ended", "ended pnl_update", "b"]
        assert _publish_low(link, lease.value, *latest) == 1
        assert client.hgetall(KEYS.latest) == {b"open pnl_update": b"a"}


def test_a_lease_that_expired_comes_back_unless_another_one_led(
    redis_server: RedisServer,
    link: RedisLink,
) -> None:
    """Who slept too long goes on if nobody missed it, and is refused otherwise."""
    one, two = _lease(link, "one"), _lease(link, "two")
    assert one.acquire()
    before = int(one.token)
    _lose(redis_server)
    assert one.renew()
    assert int(one.token) > before
    _lose(redis_server)
    assert two.acquire()
    two.release()
    assert not one.renew()
    assert one.value == ""


def test_a_write_that_is_repeated_is_taken_once(
    redis_server: RedisServer, link: RedisLink, lease: Lease
) -> None:
    """An answer that was lost makes no duplicate."""
    for _ in range(3):
        assert _publish(link, lease.value, lease.token) == 1
    with redis_server.client() as client:
        assert client.xlen(KEYS.high) == 1


def test_a_write_that_comes_once_more_after_later_ones_sets_nothing_back(
    redis_server: RedisServer,
    link: RedisLink,
    lease: Lease,
) -> None:
    """The network may still deliver what was sent over a connection that was given up."""
    for number in (1, 2, 1, 3):
        assert _publish(link, lease.value, lease.token, number=number) == 1
    with redis_server.client() as client:
        entries = [fields for _, fields in client.xrange(KEYS.high)]
    assert [entry[b"i"] for entry in entries] == [b"s:1", b"s:2", b"s:3"]
    assert [entry[b"n"] for entry in entries] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_lease_whose_answer_was_lost_comes_back(
    redis_server: RedisServer, link: RedisLink, is_there: bool
) -> None:
    """Nobody else led: also if it expired again before it was asked for once more."""
    one, two = _lease(link, "one"), _lease(link, "two")
    assert one.acquire()
    _lose(redis_server)
    taken = link.run(ACQUIRE, [KEYS.lease, KEYS.meta], ["one", "30000", one.token])
    assert taken not in (b"", one.value.encode())
    if not is_there:
        _lose(redis_server)
    assert one.renew()
    assert not two.acquire()
    assert _publish(link, one.value, one.token) == 1
    assert _publish(link, taken, "1", "t") == 0


def test_a_stand_by_takes_over_at_once_from_one_that_closes(bench: Bench) -> None:
    """It does not wait for the lease to expire; positions keep their handles."""
    with bench.session() as session, bench.relay() as first, bench.relay() as second:
        assert first.wait_for_role("leading", PATIENCE)
        assert not second.wait_for_role("leading", 0.3)
        bench.buy()
        handle = wait_for(session, "position_opened").handle
        first.close()
        again = wait_for(session, "position_opened")
        assert again.reopened
        assert again.handle is handle
        assert session.positions() == [handle]


def test_what_was_sold_between_two_publishers_is_lost(bench: Bench) -> None:
    """A position that the next stream does not name is reported, and gone."""
    with bench.session() as session:
        with bench.relay():
            holding, kept = bench.buy(), bench.buy()
            until(session, lambda: len(session.positions()) == 2)
        bench.sim.sell(holding)
        with bench.relay(session_options={"resync_window": 0.5}):
            lost = wait_for(session, "position_lost")
            assert lost.handle.token_account == holding.token_account
            assert lost.handle.status == "lost"
            (left,) = session.positions()
            assert left.token_account == kept.token_account
            with bench.session() as late:
                assert len(late.positions()) == 1


def test_a_leader_that_is_deposed_stands_by(bench: Bench) -> None:
    """It ends its stream, and leads again once the other one is gone."""
    policy = RelayPolicy(lease=3.0)
    with bench.session() as session, bench.relay(policy=policy) as relay:
        assert relay.wait_for_role("leading", PATIENCE)
        wait_for(session, "hello_ok")
        link = RedisLink(bench.redis.url)
        usurper = _lease(link, "usurper")
        _lose(bench.redis)
        while not usurper.acquire():
            _lose(bench.redis)
        assert relay.wait_for_role("stand-by", PATIENCE)
        bench.sim.wait_for_connections(0, timeout=PATIENCE)
        usurper.release()
        link.close()
        assert relay.wait_for_role("leading", PATIENCE)
        wait_for(session, "hello_ok")
        assert relay.stats().terms == 2


def test_a_key_that_the_service_refuses_ends_the_publisher(bench: Bench) -> None:
    """It says why, and lets another one lead."""
    bench.sim.refuse_upgrades(401)
    relay = bench.make_relay()
    with pytest.raises(AuthenticationError):
        relay.run()
    assert isinstance(relay.error, AuthenticationError)
    assert relay.role == "stopped"
    with bench.redis.client() as client:
        assert client.get(KEYS.lease) is None


def test_a_publisher_that_is_interrupted_leaves_no_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may come when it has the lease, and its term has not begun."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Term, "__init__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.make_relay().run()
    with bench.redis.client() as client:
        assert client.get(KEYS.lease) is None


def test_a_mistake_of_ours_is_what_ended_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A publisher that broke does not look like one that was closed."""

    def fail(_: Term) -> None:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr(Term, "run", fail)
    with bench.make_relay() as relay:
        assert relay.wait_for_role("stopped", PATIENCE)
        assert isinstance(relay.error, RelayError)
    assert "a mistake of ours ended the relay" in caplog.text


def test_a_stream_that_cannot_be_had_yet_is_tried_again(bench: Bench) -> None:
    """A service that is down costs a leader its term, not its life."""
    bench.sim.refuse_upgrades(503, times=1)
    with bench.session() as session, bench.relay() as relay:
        wait_for(session, "hello_ok")
        assert relay.stats().terms >= 2


def test_a_relay_runs_once(bench: Bench) -> None:
    """close() ends it for good, and does no harm twice or before the start."""
    relay = bench.make_relay()
    relay.close()
    relay.close()
    assert relay.role == "stopped"
    with pytest.raises(RuntimeError, match="runs once"):
        relay.run()
