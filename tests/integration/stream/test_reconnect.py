"""What survives a disconnect, what is told, and in which order."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from lasersell._clock import SYSTEM_CLOCK
from lasersell.errors import (
    AuthenticationError,
    HandshakeError,
    HoldFullError,
    NotConnectedError,
)
from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
)
from lasersell.protocol.codec import encode_server_message
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.server import PositionOpened
from lasersell.sim import SimServer
from lasersell.stream import backoff
from lasersell.stream.client import StreamConnection
from lasersell.stream.intent import HoldSettings
from lasersell.stream.reader import Reader
from tests.complaints import complaints
from tests.faults.raw_server import Peer, RawServer, Script, drain
from tests.faults.wire import (
    close_frame,
    error_frame,
    event,
    event_number,
    frame,
    hello_frame,
)
from tests.integration.stream.streams import (
    OTHER_WALLET,
    SECOND,
    STRATEGY,
    WALLET,
    connect,
    connect_held,
    kinds,
    receive_until,
    wait_for,
)
from tests.patience import PATIENCE

_TEXT = 0x1


def _drop(sim: SimServer, connection: StreamConnection) -> list[Any]:
    """Cut the connection; return what came until the next one was live."""
    sim.drop()
    return receive_until(connection, "gap")


def _go_offline(sim: SimServer, connection: StreamConnection) -> None:
    sim.refuse_upgrades(503)
    sim.drop()
    wait_for(connection, "disconnected")


@pytest.fixture
def short_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back from a refusal at once, rather than after 2 s."""
    monkeypatch.setattr(backoff, "LARGEST_DELAY", 0.02)


# Order


def test_the_order_of_a_reconnect(sim: SimServer) -> None:
    """connected, hello_ok, the server's messages, disconnected last; then the same again."""
    sim.buy(WALLET)
    with connect(sim.url) as connection:
        first = receive_until(connection, "position_opened")
        sim.drop(1012, "restarting")
        second = receive_until(connection, "position_opened")
    assert kinds(first) == [
        "connected",
        "hello_ok",
        "balance_update",
        "position_opened",
    ]
    assert [kind for kind in kinds(second) if kind != "pnl_update"] == [
        "disconnected",
        "connected",
        "hello_ok",
        "gap",
        "balance_update",
        "position_opened",
    ]


@pytest.mark.usefixtures("documented_delays")
def test_a_disconnect_says_why_and_for_how_long(sim: SimServer) -> None:
    """The close code, the server's words and the delay until the next try."""
    with connect(sim.url) as connection:
        sim.drop(1012, "restarting")
        lost = wait_for(connection, "disconnected")
        assert lost.close_code == 1012
        assert "restarting" in lost.cause
        assert (lost.delay, lost.status, lost.code) == (0.1, None, None)
        again = wait_for(connection, "connected")
        assert (again.number, again.attempts) == (2, 1)


@pytest.mark.usefixtures("documented_delays")
def test_a_gap_says_how_long_it_was_and_what_was_told_again(sim: SimServer) -> None:
    """When it began and ended by our clock, how many tries, and what was restored."""
    sim.refuse_upgrades(503, times=2)
    sim.accept_upgrades()
    with connect(sim.url) as connection:
        connection.sender.update_watch_wallets([WatchWallet(pubkey=OTHER_WALLET)])
        before = SYSTEM_CLOCK.wall_ms()
        sim.refuse_upgrades(503, times=2)
        gap = _drop(sim, connection)[-1]
        after = SYSTEM_CLOCK.wall_ms()
    assert before <= gap.from_ms < gap.to_ms <= after
    assert gap.to_ms - gap.from_ms >= 690, "two failed tries: 100, 200 and 400 ms"
    assert gap.attempts == 3
    assert gap.restored == ("strategy", "wallets", "watch_wallets")


def test_nothing_of_an_old_connection_comes_after_its_end() -> None:
    """Everything that had arrived is delivered before disconnected, nothing after."""

    def ends(peer: Peer) -> None:
        peer.greet()
        peer.send(*(event(number) for number in range(500)), close_frame(1001))
        peer.drain()

    def stays(peer: Peer) -> None:
        peer.greet()
        peer.send(event(1000))
        peer.drain()

    with RawServer(ends, stays) as server, connect(server.endpoint) as connection:
        messages = receive_until(connection, "disconnected")
        numbers = [event_number(message) for message in messages[2:-1]]
        assert numbers == list(range(500))
        assert event_number(wait_for(connection, "pong")) == 1000


def test_the_first_disconnect_is_of_this_side_when_it_closes(sim: SimServer) -> None:
    """An orderly close ends with disconnected, and no next try."""
    connection = connect(sim.url)
    connection.close()
    last = list(connection)[-1]
    assert last.type == "disconnected"
    assert (last.cause, last.delay) == ("closed by this side", None)  # type: ignore[union-attr]


# The session's wishes


def test_configure_is_sent_again(sim: SimServer) -> None:
    """The server, which forgot everything, is told the same again."""
    with connect(sim.url) as connection:
        told = [sim.received.wait_for(Configure)]
        for _ in range(3):
            _drop(sim, connection)
            told.append(sim.received.wait_for(Configure))
    assert all(configure == told[0] for configure in told)


def test_the_latest_wishes_are_told_after_a_reconnect(sim: SimServer) -> None:
    """Strategy, wallets and watched wallets as they were last asked for (13.1, P1)."""
    watched = WatchWallet(pubkey=OTHER_WALLET)
    with connect(sim.url) as connection:
        sender = connection.sender
        sender.update_strategy(SECOND)
        sender.update_wallets([WALLET, OTHER_WALLET])
        sender.update_watch_wallets([watched])
        sim.received.wait_for(Configure)
        _drop(sim, connection)
        told = sim.received.wait_for(Configure)
    assert told.strategy == SECOND
    assert told.wallet_pubkeys == (WALLET, OTHER_WALLET)
    assert told.watch_wallets == (watched,)


def test_wishes_given_while_offline_are_told_in_configure(sim: SimServer) -> None:
    """A lasting wish needs no connection; it raises nothing and is not lost."""
    with connect(sim.url) as connection:
        sim.received.wait_for(Configure)
        _go_offline(sim, connection)
        connection.sender.update_strategy(SECOND)
        connection.sender.update_wallets(OTHER_WALLET)
        connection.sender.update_watch_wallets([])
        sim.accept_upgrades()
        told = sim.received.wait_for(Configure)
    assert told.strategy == SECOND
    assert told.wallet_pubkeys == (OTHER_WALLET,)


def test_a_wish_given_during_a_connect_is_told_after_it() -> None:
    """Between the write of configure and the live connection nothing is missed."""
    told = threading.Event()
    wished = threading.Event()
    heard: list[Any] = []

    def second(peer: Peer) -> None:
        peer.upgrade()
        peer.read()  # configure, with the old wish
        told.set()
        assert wished.wait(PATIENCE)
        peer.send(hello_frame())
        update = peer.read()
        assert update is not None
        heard.append(json.loads(update.payload))
        peer.drain()

    def first(peer: Peer) -> None:
        peer.upgrade()
        peer.read()
        peer.send(hello_frame(), close_frame(1001))
        peer.drain()

    with (
        RawServer(first, second) as server,
        connect(server.endpoint, hello_grace=0.0) as connection,
    ):
        assert told.wait(PATIENCE)
        connection.sender.update_strategy(SECOND)
        wished.set()
        wait_for(connection, "gap")
    assert heard[0]["type"] == "update_strategy"
    assert heard[0]["strategy"]["target_profit_pct"] == SECOND.target_profit_pct


# The wishes for one position


@pytest.mark.parametrize("ids", ["kept", "renewed"])
def test_overrides_and_untracked_positions_are_told_again(ids: Any) -> None:
    """By the id of the new connection, as soon as the position is named (13.1, P2, P15)."""
    with SimServer(volatility_pct=0.0, position_ids=ids) as sim:
        special, unwanted = sim.buy(WALLET), sim.buy(WALLET)
        with connect(sim.url) as connection:
            opened = [wait_for(connection, "position_opened") for _ in range(2)]
            by_account = {message.token_account: message for message in opened}
            sender = connection.sender
            sender.update_position_strategy(
                by_account[special.token_account].position_id, SECOND
            )
            sender.close_position(
                position_id=by_account[unwanted.token_account].position_id
            )
            sim.received.wait_for(UpdatePositionStrategy)
            sim.received.wait_for(ClosePosition)
            wait_for(connection, "position_closed")
            _drop(sim, connection)
            update = sim.received.wait_for(UpdatePositionStrategy)
            close = sim.received.wait_for(ClosePosition)
            opened = [wait_for(connection, "position_opened") for _ in range(2)]
            by_account = {message.token_account: message for message in opened}
            wait_for(connection, "position_closed")
    assert update == UpdatePositionStrategy(
        position_id=by_account[special.token_account].position_id, strategy=SECOND
    )
    assert close.position_id == by_account[unwanted.token_account].position_id


def test_wishes_for_a_position_given_while_offline_are_told(sim: SimServer) -> None:
    """By its last id or its token account; the server hears of it after the reconnect."""
    special, unwanted = sim.buy(WALLET), sim.buy(WALLET)
    with connect(sim.url) as connection:
        opened = [wait_for(connection, "position_opened") for _ in range(2)]
        ids = {message.token_account: message.position_id for message in opened}
        _go_offline(sim, connection)
        sender = connection.sender
        sender.update_position_strategy(ids[special.token_account], SECOND)
        sender.close_position(token_account=unwanted.token_account)
        sim.accept_upgrades()
        update = sim.received.wait_for(UpdatePositionStrategy)
        close = sim.received.wait_for(ClosePosition)
    assert update.strategy == SECOND
    assert close.position_id == ids[unwanted.token_account]


# Exits


def test_an_exit_asked_for_while_offline_is_held_and_sent(sim: SimServer) -> None:
    """It goes out when the position is named again, and the signal comes."""
    sim.buy(WALLET)
    with connect(sim.url) as connection:
        opened = wait_for(connection, "position_opened")
        _go_offline(sim, connection)
        connection.sender.request_exit_signal(
            position_id=opened.position_id, slippage_bps=300
        )
        sim.accept_upgrades()
        exit_signal = wait_for(connection, "exit_signal_with_tx")
        asked = sim.received.of(RequestExitSignal)
    assert exit_signal.token_account == opened.token_account
    assert asked == [
        RequestExitSignal(token_account=opened.token_account, slippage_bps=300)
    ]


def test_an_exit_asked_for_while_the_connection_breaks_is_held(sim: SimServer) -> None:
    """A command that meets the end of its connection is not lost, and raises nothing."""
    sim.buy(WALLET)
    with connect(sim.url) as connection:
        opened = wait_for(connection, "position_opened")
        link = connection._stream._link
        assert link is not None
        link.transport.begin_close(1000)
        connection.sender.request_exit_signal(token_account=opened.token_account)
        connection.sender.mirror_buy_result(OTHER_WALLET, True)
        exit_signal = wait_for(connection, "exit_signal_with_tx")
        sim.received.wait_for(MirrorBuyResult)
    assert exit_signal.token_account == opened.token_account


def test_a_held_exit_that_grew_old_is_reported(sim: SimServer) -> None:
    """After its time nobody knows whether it is still wanted: the user is told."""
    sim.buy(WALLET)
    with connect_held(sim.url, HoldSettings(max_age=0.05)) as connection:
        opened = wait_for(connection, "position_opened")
        _go_offline(sim, connection)
        connection.sender.request_exit_signal(token_account=opened.token_account)
        expired = wait_for(connection, "command_expired")
        sim.accept_upgrades()
        wait_for(connection, "position_opened")
        assert expired.held_sec >= 0.05
        assert expired.command == RequestExitSignal(token_account=opened.token_account)
        assert sim.received.of(RequestExitSignal) == []


def test_an_exit_that_nobody_answers_is_asked_for_three_times() -> None:
    """Then the user is told that no signal came."""
    asked: list[Any] = []

    def script(peer: Peer) -> None:
        peer.greet()
        requests = [read for read in peer.drain() if read.opcode == _TEXT]
        asked.extend(json.loads(request.payload) for request in requests)

    with RawServer(script) as server:
        connection = connect_held(server.endpoint, HoldSettings(retry_after=0.05))
        with connection:
            connection.sender.request_exit_signal(token_account="account")
            unanswered = wait_for(connection, "exit_request_unanswered")
    assert (unanswered.token_account, unanswered.asks) == ("account", 3)
    assert [ask["type"] for ask in asked] == ["request_exit_signal"] * 3


@pytest.mark.parametrize("who_ends_it", ["we", "the server"])
def test_a_report_is_not_lost_with_its_connection(
    who_ends_it: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reader was too late to take is delivered before the disconnect."""
    reported = threading.Event()
    post = Reader.post

    def post_and_tell(reader: Reader[Any], message: Any) -> None:
        post(reader, message)
        if message.type == "exit_request_unanswered":
            reported.set()

    def script(peer: Peer) -> None:
        peer.greet()
        # One more than the lane has room for: the reader takes nothing meanwhile.
        peer.send(event(1), event(2))
        assert reported.wait(PATIENCE)
        if who_ends_it == "we":
            peer.drain()

    monkeypatch.setattr(Reader, "post", post_and_tell)
    with (
        complaints() as said,
        RawServer(script, drain) as server,
        connect_held(
            server.endpoint, HoldSettings(retry_after=0.05), high_capacity=3
        ) as connection,
    ):
        assert "high lane is full" in said.get(timeout=PATIENCE)
        connection.sender.request_exit_signal(token_account="account")
        assert reported.wait(PATIENCE)
        if who_ends_it == "we":
            connection.close()
        told = kinds(receive_until(connection, "disconnected"))
    assert told[-2:] == ["exit_request_unanswered", "disconnected"]


def test_an_exit_is_asked_for_again_after_a_resync() -> None:
    """A request that was lost with its connection is repeated when the position is named."""
    opened = PositionOpened(
        position_id=1,
        wallet_pubkey=WALLET,
        mint=OTHER_WALLET,
        token_account="account",
        tokens=1,
        entry_quote_units=1,
        slot=1,
    )
    asked: list[Any] = []

    def script(peer: Peer) -> None:
        peer.greet()
        again = attrs.evolve(opened, position_id=peer.number)
        peer.send(frame(_TEXT, encode_server_message(again)))
        request = peer.read()
        assert request is not None
        asked.append(json.loads(request.payload))
        if peer.number == 1:
            peer.send(close_frame(1001))
        else:
            done.set()
        peer.drain()

    done = threading.Event()
    with RawServer(script) as server, connect(server.endpoint) as connection:
        wait_for(connection, "position_opened")
        connection.sender.request_exit_signal(position_id=1, slippage_bps=300)
        assert done.wait(PATIENCE)
    assert asked[0] == {
        "type": "request_exit_signal",
        "token_account": "account",
        "slippage_bps": 300,
    }
    assert asked[1] == asked[0]


def test_the_exit_of_a_position_sold_in_the_gap_is_reported(sim: SimServer) -> None:
    """What the server does not name again is given up after the resync window."""
    sold, _ = sim.buy(WALLET), sim.buy(WALLET)
    connection = connect_held(sim.url, HoldSettings(), resync_window=0.1)
    with connection:
        for _ in range(2):
            wait_for(connection, "position_opened")
        _go_offline(sim, connection)
        connection.sender.request_exit_signal(token_account=sold.token_account)
        sim.sell(sold)
        sim.accept_upgrades()
        expired = wait_for(connection, "command_expired")
    assert expired.command.token_account == sold.token_account


def test_the_exit_of_a_position_bought_again_is_reported_not_asked_for(
    sim: SimServer,
) -> None:
    """The exit was meant for the position that is gone; the new one is left alone."""
    sold = sim.buy(WALLET)
    with connect(sim.url) as connection:
        wait_for(connection, "position_opened")
        _go_offline(sim, connection)
        connection.sender.request_exit_signal(token_account=sold.token_account)
        sim.sell(sold)
        sim.buy(WALLET, sold.mint, quote_units=777_000_000)
        sim.accept_upgrades()
        expired = wait_for(connection, "command_expired")
    assert expired.command.token_account == sold.token_account
    assert sim.received.of(RequestExitSignal) == []


def test_a_mirror_result_given_while_offline_is_sent(sim: SimServer) -> None:
    """The server still waits for it after the reconnect."""
    with connect(sim.url) as connection:
        _go_offline(sim, connection)
        connection.sender.mirror_buy_result(OTHER_WALLET, False)
        sim.accept_upgrades()
        result = sim.received.wait_for(MirrorBuyResult)
    assert result == MirrorBuyResult(mint=OTHER_WALLET, success=False)


def test_a_full_hold_refuses_a_command(sim: SimServer) -> None:
    """What cannot be held is refused at once, not dropped in silence."""
    with connect_held(sim.url, HoldSettings(capacity=1)) as connection:
        _go_offline(sim, connection)
        connection.sender.request_exit_signal(token_account="one")
        with pytest.raises(HoldFullError):
            connection.sender.request_exit_signal(token_account="two")
        with pytest.raises(HoldFullError):
            connection.sender.mirror_buy_result(OTHER_WALLET, True)


def test_what_needs_the_server_is_refused_while_offline(sim: SimServer) -> None:
    """A ping, and any command by an id that was never known."""
    with connect(sim.url) as connection:
        _go_offline(sim, connection)
        sender = connection.sender
        calls: list[Callable[[], object]] = [
            sender.ping,
            lambda: sender.request_exit_signal(position_id=99),
            lambda: sender.close_position(position_id=99),
            lambda: sender.update_position_strategy(99, SECOND),
        ]
        for call in calls:
            with pytest.raises(NotConnectedError):
                call()


# Turned away


def _rejecting(peer: Peer) -> None:
    peer.greet()
    peer.send(error_frame("invalid_strategy", "not any more"))
    peer.drain()


def _live_then_closed(peer: Peer) -> None:
    peer.greet()
    peer.send(close_frame(1001))
    peer.drain()


def _recv_error(connection: StreamConnection) -> BaseException:
    with pytest.raises(HandshakeError) as caught:
        connection.recv(timeout=PATIENCE)
    return caught.value


def _until_fatal(connection: StreamConnection) -> list[Any]:
    """Return every disconnect up to the last one, which has no next try."""
    disconnects: list[Any] = []
    while not disconnects or disconnects[-1].delay is not None:
        disconnects.append(wait_for(connection, "disconnected"))
    return disconnects


def test_the_third_rejection_in_a_row_is_fatal(short_refusals: None) -> None:
    """Each is reported with its code; then the stream has failed, for good."""
    with (
        RawServer(_live_then_closed, _rejecting) as server,
        connect(server.endpoint) as connection,
    ):
        lost, *rejected = _until_fatal(connection)
        assert lost.close_code == 1001
        assert [message.code for message in rejected] == ["invalid_strategy"] * 3
        assert _recv_error(connection) is _recv_error(connection)
        assert connection.state == "failed"
        assert connection.error is _recv_error(connection)


def test_a_refused_key_is_fatal_on_a_reconnect(sim: SimServer) -> None:
    """HTTP 401 means that the key was revoked: no try can succeed (13.1, P12)."""
    with connect(sim.url) as connection:
        sim.refuse_upgrades(401)
        sim.drop()
        lost, refused = _until_fatal(connection)
        assert lost.status is None
        assert refused.status == 401
        error = _recv_error(connection)
        assert isinstance(error, AuthenticationError)
        assert _recv_error(connection) is error


def test_other_refusals_are_retried_for_the_rejoin_timeout(
    sim: SimServer, short_refusals: None
) -> None:
    """Each is reported; in the end the refusal is the error of the stream."""
    with connect(sim.url, rejoin_timeout=0.5) as connection:
        sim.refuse_upgrades(403)
        sim.drop()
        lost, *refused = _until_fatal(connection)
        assert lost.status is None
        assert {message.status for message in refused} == {403}
        assert len(refused) >= 3
        error = _recv_error(connection)
        assert isinstance(error, HandshakeError)
        assert error.status == 403


def test_a_stream_that_is_taken_back_in_time_goes_on(
    sim: SimServer, short_refusals: None
) -> None:
    """The server counted our own dead session for a while; then it lets us in."""
    with connect(sim.url, rejoin_timeout=60.0) as connection:
        sim.refuse_upgrades(403, times=3)
        messages = _drop(sim, connection)
        refused = [m for m in messages if m.type == "disconnected" and m.status]
        assert [message.status for message in refused] == [403] * 3
        assert connection.state == "live"


def test_trouble_on_the_way_is_retried_in_silence(sim: SimServer) -> None:
    """Of a network that is down there is one disconnected, and the tries in the gap."""
    with connect(sim.url, rejoin_timeout=0.0) as connection:
        sim.refuse_upgrades(503, times=2)
        messages = _drop(sim, connection)
        assert kinds(messages).count("disconnected") == 1
        assert messages[-1].attempts == 3


def test_an_error_frame_for_the_handshake_is_a_refusal_on_a_reconnect(
    short_refusals: None,
) -> None:
    """It is reported with its code and tried again, as long as a refusal is."""

    def refusing(peer: Peer) -> None:
        peer.upgrade()
        peer.send(error_frame("too_many_sessions", "one"))
        peer.drain()

    def back(peer: Peer) -> None:
        peer.greet()
        peer.drain()

    scripts: list[Script] = [_live_then_closed, refusing, refusing, back]
    with RawServer(*scripts) as server, connect(server.endpoint) as connection:
        messages = receive_until(connection, "gap")
        codes = [m.code for m in messages if m.type == "disconnected"]
    assert codes == [None, "too_many_sessions", "too_many_sessions"]


# States


def test_the_state_follows_the_connection(sim: SimServer) -> None:
    """live, reconnecting, live again, closed."""
    connection = connect(sim.url)
    states = [connection.state]
    _go_offline(sim, connection)
    states.append(connection.state)
    sim.accept_upgrades()
    wait_for(connection, "gap")
    sim.send_bytes(event(1))
    wait_for(connection, "pong")
    states.append(connection.state)
    assert connection.stats().reconnects == 1
    connection.close()
    states.append(connection.state)
    assert states == ["live", "reconnecting", "live", "closed"]
    assert connection.error is None


def test_an_update_is_sent_at_once_while_live(sim: SimServer) -> None:
    """A live server hears of a wish now, not at the next reconnect."""
    with connect(sim.url) as connection:
        connection.sender.update_strategy(STRATEGY)
        assert sim.received.wait_for(UpdateStrategy).strategy == STRATEGY
