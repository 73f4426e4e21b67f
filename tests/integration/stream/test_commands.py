"""What a user asks for, as the server hears it; and what is refused before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from lasersell.errors import ConfigurationError, NotConnectedError, StreamLostError
from lasersell.protocol.client import (
    ClientMessage,
    ClosePosition,
    Configure,
    MirrorBuyResult,
    Ping,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateStrategy,
    UpdateWallets,
    UpdateWatchWallets,
)
from lasersell.protocol.mirror import AutoBuy, WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.sim import DEFAULT_LIMITS, SimServer
from lasersell.stream.sender import StreamSender
from tests.integration.stream.streams import (
    OTHER_WALLET,
    SECOND,
    WALLET,
    connect,
    wait_for,
)

_WATCHED = WatchWallet(
    pubkey=OTHER_WALLET, auto_buy=AutoBuy(wallet_pubkey=WALLET, amount_quote_units=1)
)

_COMMANDS: dict[str, tuple[Callable[[StreamSender], object], ClientMessage]] = {
    "update_strategy": (
        lambda sender: sender.update_strategy(SECOND),
        UpdateStrategy(strategy=SECOND),
    ),
    "update_strategy with a deadline": (
        lambda sender: sender.update_strategy(
            StrategyConfig(), deadline_timeout_sec=45.0
        ),
        UpdateStrategy(strategy=StrategyConfig()),
    ),
    "update_wallets": (
        lambda sender: sender.update_wallets({OTHER_WALLET}),
        UpdateWallets(wallet_pubkeys=(OTHER_WALLET,)),
    ),
    "update_wallets with one": (
        lambda sender: sender.update_wallets(OTHER_WALLET),
        UpdateWallets(wallet_pubkeys=(OTHER_WALLET,)),
    ),
    "update_watch_wallets": (
        lambda sender: sender.update_watch_wallets(iter([_WATCHED])),
        UpdateWatchWallets(watch_wallets=(_WATCHED,)),
    ),
    "close_position": (
        lambda sender: sender.close_position(token_account="account"),
        ClosePosition(token_account="account"),
    ),
    "request_exit_signal": (
        lambda sender: sender.request_exit_signal(
            token_account="account", slippage_bps=65535
        ),
        RequestExitSignal(token_account="account", slippage_bps=65535),
    ),
    "mirror_buy_result": (
        lambda sender: sender.mirror_buy_result(OTHER_WALLET, True),
        MirrorBuyResult(mint=OTHER_WALLET, success=True),
    ),
}


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_reaches_the_server(sim: SimServer, name: str) -> None:
    """Written in the caller's thread, it is there as soon as the call returned."""
    command, message = _COMMANDS[name]
    with connect(sim.url) as connection:
        command(connection.sender)
        assert sim.received.wait_for(type(message)) == message


def test_a_position_is_named_by_its_present_id(sim: SimServer) -> None:
    """What has no token account on the wire goes out by the id of this connection."""
    sim.buy(WALLET)
    with connect(sim.url) as connection:
        opened = wait_for(connection, "position_opened")
        account, position_id = opened.token_account, opened.position_id
        sender = connection.sender
        sender.update_position_strategy(position_id, SECOND)
        sender.update_position_strategy(0, SECOND, token_account=account)
        expected = UpdatePositionStrategy(position_id=position_id, strategy=SECOND)
        for _ in range(2):
            assert sim.received.wait_for(UpdatePositionStrategy) == expected
        sender.request_exit_signal(position_id=position_id)
        assert sim.received.wait_for(RequestExitSignal).token_account == account
        sender.close_position(position_id=position_id)
        assert sim.received.wait_for(ClosePosition).position_id == position_id


def test_a_ping_carries_our_clock(sim: SimServer) -> None:
    """As the wire wants it, though the server does not echo it."""
    with connect(sim.url) as connection:
        connection.sender.ping()
        assert sim.received.wait_for(Ping).client_time_ms > 1_577_836_800_000


_ANY: Any = object()
_BAD_WALLET = WatchWallet(
    pubkey=OTHER_WALLET, auto_buy=AutoBuy(wallet_pubkey=WALLET, amount_quote_units=-1)
)
_WRONG: dict[str, tuple[Callable[[StreamSender], object], str]] = {
    "no strategy": (lambda s: s.update_strategy(_ANY), "must be a StrategyConfig"),
    "no exit condition": (
        lambda s: s.update_strategy(StrategyConfig()),
        "no exit condition",
    ),
    "no strategy of its own": (
        lambda s: s.update_position_strategy(1, _ANY),
        "must be a StrategyConfig",
    ),
    "a negative id": (lambda s: s.update_position_strategy(-1, SECOND), "position_id"),
    "an id that is text": (
        lambda s: s.close_position(position_id="1"),  # type: ignore[arg-type]
        "position_id",
    ),
    "no wallets": (lambda s: s.update_wallets([]), "name at least one wallet"),
    "a malformed wallet": (
        lambda s: s.update_wallets(["0OIl"]),
        r"wallet_pubkeys\[0\]",
    ),
    "no list": (lambda s: s.update_watch_wallets(_ANY), "must be a list"),
    "no watched wallet": (
        lambda s: s.update_watch_wallets([WALLET]),  # type: ignore[list-item]
        "must be a WatchWallet",
    ),
    "an amount off the wire": (
        lambda s: s.update_watch_wallets([_BAD_WALLET]),
        "amount_quote_units",
    ),
    "no position": (lambda s: s.request_exit_signal(), "either position_id or"),
    "two names": (
        lambda s: s.close_position(position_id=1, token_account="a"),
        "either position_id or",
    ),
    "an account that is no text": (
        lambda s: s.request_exit_signal(token_account=_ANY),
        "token_account",
    ),
    "too much slippage": (
        lambda s: s.request_exit_signal(token_account="a", slippage_bps=65536),
        "slippage_bps",
    ),
    "no mint": (lambda s: s.mirror_buy_result(_ANY, True), "mint"),
    "no outcome": (lambda s: s.mirror_buy_result(OTHER_WALLET, _ANY), "success"),
}


@pytest.mark.parametrize("is_live", [True, False])
def test_a_wrong_command_is_refused_and_forgotten(
    sim: SimServer, is_live: bool
) -> None:
    """Live or offline it raises at once, and nothing of it disturbs the next connection."""
    with connect(sim.url) as connection:
        told = sim.received.wait_for(Configure)
        if not is_live:
            sim.refuse_upgrades(503)
            sim.drop()
            wait_for(connection, "disconnected")
        for command, problem in _WRONG.values():
            with pytest.raises(ConfigurationError, match=problem):
                command(connection.sender)
        sim.accept_upgrades()
        if is_live:
            sim.drop()
        wait_for(connection, "gap")
        assert sim.received.wait_for(Configure) == told
        connection.sender.ping()
        sim.received.wait_for(Ping)
        assert {type(message) for message in sim.received.of(object)} == {
            Configure,
            Ping,
        }


@pytest.mark.parametrize(
    ("limit", "command"),
    [
        (
            "max_wallets_per_session",
            lambda s: s.update_wallets([WALLET, OTHER_WALLET]),
        ),
        (
            "max_watch_wallets_per_session",
            lambda s: s.update_watch_wallets([_WATCHED, _WATCHED]),
        ),
    ],
)
def test_a_command_over_a_limit_is_refused(
    limit: str, command: Callable[[StreamSender], object]
) -> None:
    """A limit of hello_ok is checked before the server would have to; 0 is unknown."""
    limits: dict[str, Any] = {limit: 1}
    with (
        SimServer(limits=attrs.evolve(DEFAULT_LIMITS, **limits)) as sim,
        connect(sim.url) as connection,
        pytest.raises(ConfigurationError, match=limit),
    ):
        command(connection.sender)
    limits = {limit: 0}
    with (
        SimServer(limits=attrs.evolve(DEFAULT_LIMITS, **limits)) as sim,
        connect(sim.url) as connection,
    ):
        command(connection.sender)


def test_nothing_is_taken_after_the_close(sim: SimServer) -> None:
    """Every command says that the stream is closed; none is kept for later."""
    connection = connect(sim.url)
    connection.close()
    commands = [command for command, _ in _COMMANDS.values()]
    commands.append(lambda sender: sender.ping())
    commands.append(
        lambda sender: sender.update_position_strategy(1, SECOND, token_account="a")
    )
    for command in commands:
        with pytest.raises(NotConnectedError, match="closed; connect again"):
            command(connection.sender)


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_a_command_that_meets_the_end_of_the_stream_says_so(
    sim: SimServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing is held or remembered for a connection that will never be."""
    with connect(sim.url) as connection:
        wait_for(connection, "hello_ok")

        def end(*_: object, **__: object) -> None:
            monkeypatch.undo()
            connection.close()
            raise StreamLostError("it ended just then")

        monkeypatch.setattr(type(connection.sender._stream), "write", end)
        with pytest.raises(NotConnectedError):
            _COMMANDS[name][0](connection.sender)
