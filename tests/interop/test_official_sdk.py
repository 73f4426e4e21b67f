"""The official SDK as a client of our server: it must not be able to tell."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from lasersell.protocol.client import UpdateStrategy
from lasersell.sim import SimServer

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="lasersell-sdk needs Python 3.11 or later, "
    "and then: pip install lasersell-sdk==1.1.0",
)

_KEYPAIR = Keypair.from_seed(bytes([1]) * 32)
_WALLET = str(_KEYPAIR.pubkey())
_STRATEGY = {
    "target_profit_pct": 5.0,
    "stop_loss_pct": 10.0,
    "trailing_stop_pct": 3.0,
}
_ORDERS = pytest.mark.parametrize("hello", ["first", "after_configure"])


@contextlib.asynccontextmanager
async def _session(sim: SimServer) -> AsyncIterator[Any]:
    """Connect an official session to the server, and close it in the end."""
    sdk = importlib.import_module("lasersell_sdk.stream")
    client = sdk.StreamClient("a-key").with_endpoint(sim.url)
    configure = sdk.StreamConfigure(wallet_pubkeys=[_WALLET], strategy=_STRATEGY)
    session = await sdk.StreamSession.connect(client, configure)
    try:
        yield session
    finally:
        session.close()
        # Its close() only asks; this waits until nothing of it is left.
        await session._connection._worker._task


async def _next(session: Any, type: str) -> Any:
    while True:
        event = await session.recv()
        assert event is not None, f"the stream ended before a {type} came"
        if event.message["type"] == type:
            return event


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())


@_ORDERS
def test_it_tracks_a_position_to_its_exit(hello: str) -> None:
    """It connects, tracks the position, and gets a transaction its wallet can sign."""

    async def scenario(sim: SimServer) -> None:
        holding = sim.buy(_WALLET, profits_pct=[0, 2, 5])
        async with _session(sim) as session:
            opened = await _next(session, "position_opened")
            assert opened.handle.token_account == holding.token_account
            assert opened.handle.entry_quote_units == holding.entry_quote_units
            assert opened.handle.market_type == "pump_swap"
            profits = [await _next(session, "pnl_update") for _ in range(2)]
            assert [e.message["profit_units"] for e in profits] == [0, 2_000_000]
            signal = await _next(session, "exit_signal_with_tx")
            assert signal.handle.position_id == opened.handle.position_id
            assert signal.message["reason"] == "target_profit"
            _check_transaction(signal.message["unsigned_tx_b64"])
            closed = await _next(session, "position_closed")
            assert closed.message["reason"] == "target_profit"
            assert session.positions() == []

    with SimServer(pnl_flush_ms=20, auto_sell_after_ms=50) as sim:
        sim.change_options(hello=hello)
        _run(lambda: scenario(sim))


def _check_transaction(unsigned_tx_b64: str) -> None:
    raw = base64.b64decode(unsigned_tx_b64, validate=True)
    message = VersionedTransaction.from_bytes(raw).message
    assert message.header.num_required_signatures == 1
    assert message.account_keys[0] == _KEYPAIR.pubkey()
    signed = VersionedTransaction(message, [_KEYPAIR])
    assert signed.verify_with_results() == [True]


def test_its_own_signer_signs_our_transaction() -> None:
    """Its transaction helper takes the exit as one of the service."""

    async def scenario(sim: SimServer) -> None:
        sim.buy(_WALLET, profits_pct=[-10])
        async with _session(sim) as session:
            signal = await _next(session, "exit_signal_with_tx")
        tx = importlib.import_module("lasersell_sdk.tx")
        text = signal.message["unsigned_tx_b64"]
        signed = tx.sign_unsigned_tx(text, _KEYPAIR)
        assert signed.verify_with_results() == [True]

    with SimServer(pnl_flush_ms=20) as sim:
        _run(lambda: scenario(sim))


@_ORDERS
def test_its_commands_are_understood(hello: str) -> None:
    """Ping, strategy changes, exit requests and closes do what they say."""

    async def scenario(sim: SimServer) -> None:
        first, second = sim.buy(_WALLET), sim.buy(_WALLET)
        async with _session(sim) as session:
            handles = [(await _next(session, "position_opened")).handle for _ in "12"]
            session.sender().ping(1)
            await _next(session, "pong")
            session.request_exit_signal(handles[0], slippage_bps=300)
            signal = await _next(session, "exit_signal_with_tx")
            assert signal.message["token_account"] == first.token_account
            assert signal.message["reason"] == "sell_now"
            session.close(handles[0])
            closed = await _next(session, "position_closed")
            assert closed.handle.token_account == first.token_account
            sim.set_profit(second, 2)
            session.update_strategy({"target_profit_pct": 2.0, "stop_loss_pct": 0.0})
            signal = await _next(session, "exit_signal_with_tx")
            assert signal.handle.token_account == second.token_account

    with SimServer(pnl_flush_ms=20) as sim:
        sim.change_options(hello=hello)
        _run(lambda: scenario(sim))
        assert sim.received.wait_for(UpdateStrategy).strategy.target_profit_pct == 2.0


def test_it_sees_its_positions_again_after_a_drop() -> None:
    """Cut off, it reconnects by itself and gets the same position again."""

    async def scenario(sim: SimServer) -> None:
        sim.buy(_WALLET)
        async with _session(sim) as session:
            before = await _next(session, "position_opened")
            sim.drop()
            after = await _next(session, "position_opened")
            assert after.message == before.message

    with SimServer(pnl_flush_ms=20, volatility_pct=0) as sim:
        _run(lambda: scenario(sim))


def test_it_reads_the_liquidity_of_a_position() -> None:
    """Snapshots fill its cache of slippage bands and trend."""

    async def scenario(sim: SimServer) -> None:
        sim.buy(_WALLET)
        async with _session(sim) as session:
            handle = (await _next(session, "liquidity_snapshot")).handle
            assert session.get_max_sell_at_slippage(handle.position_id, 100) > 0
            assert session.get_liquidity_trend(handle.position_id) == "stable"

    with SimServer(pnl_flush_ms=20, volatility_pct=0, liquidity_snapshots=True) as sim:
        _run(lambda: scenario(sim))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"api_keys": ["another"]}, "401"),
        ({"wallets": [], "hello": "after_configure"}, "got: error"),
    ],
)
def test_it_fails_where_the_service_would_refuse(
    options: dict[str, Any], problem: str
) -> None:
    """A wrong key is an HTTP 401, a wrong configuration an error frame."""

    async def scenario(sim: SimServer) -> None:
        errors = importlib.import_module("lasersell_sdk.stream.client")
        with pytest.raises(errors.StreamClientError, match=problem):
            async with _session(sim):
                pass

    with SimServer(**options) as sim:
        _run(lambda: scenario(sim))
