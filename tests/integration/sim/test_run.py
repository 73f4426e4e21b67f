from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lasersell.errors import ConfigurationError
from lasersell.protocol.client import (
    ClosePosition,
    Configure,
    MirrorBuyResult,
    RequestExitSignal,
)
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.sim import InsufficientFundsError, ManualClock, SimServer
from tests.integration.sim.foreign import OTHER, WALLET, Foreign, connected


def _manual(**options: Any) -> SimServer:
    return SimServer(clock=ManualClock(), **options)


def _types(client: Foreign, number: int) -> list[str]:
    return [message["type"] for message in client.recv_many(number)]


def test_ticks_come_by_themselves() -> None:
    """With a real clock a position gets one PnL after another at the interval."""
    with SimServer(pnl_flush_ms=20) as sim, connected(sim) as client:
        client.configure()
        sim.buy(WALLET)
        times = [client.recv_type("pnl_update")["server_time_ms"] for _ in range(6)]
    assert times == sorted(times)
    assert 50 <= times[-1] - times[0] <= 5_000


def test_a_buy_while_connected_is_reported() -> None:
    """A buy brings balance and position, with the holding's own numbers."""
    with _manual() as sim, connected(sim) as client:
        client.configure()
        client.recv()
        sim.received.wait_for(Configure)
        holding = sim.buy(WALLET, quote_units=250_000_000)
        balance, opened = client.recv_many(2)
    assert (balance["type"], balance["tokens"]) == ("balance_update", holding.tokens)
    assert opened["type"] == "position_opened"
    assert opened["entry_quote_units"] == 250_000_000
    assert opened["market_context"]["market_type"] == "pump_swap"


def test_a_script_drives_a_position_into_its_exit() -> None:
    """A scripted profit fires on its tick; landing the exit closes the position."""
    with _manual() as sim, connected(sim) as client:
        holding = sim.buy(WALLET, profits_pct=[0, 4.9, 5])
        client.configure(target_profit_pct=5)
        assert _types(client, 3) == ["hello_ok", "balance_update", "position_opened"]
        sim.step(3)
        assert _types(client, 4) == [
            "pnl_update",
            "pnl_update",
            "exit_signal_with_tx",
            "pnl_update",
        ]
        trade = sim.land_exit(holding)
        balance, closed = client.recv_many(2)
    assert (trade.reason, trade.quote_units) == ("target_profit", 105_000_000)
    assert balance["tokens"] == 0
    assert (closed["type"], closed["reason"]) == ("position_closed", "target_profit")
    assert sim.trades()[-1] == trade


def test_a_script_waits_for_the_client() -> None:
    """Ticks that nobody watches use up nothing of a script."""
    with _manual() as sim:
        sim.buy(WALLET, profits_pct=[1, 2])
        sim.step(5)
        with connected(sim) as client:
            client.configure()
            sim.received.wait_for(Configure)
            sim.step()
            assert client.recv_type("pnl_update")["profit_units"] == 1_000_000


def test_a_requested_exit_is_landed_by_id() -> None:
    """A request brings a signal, and its sale closes with sell_now."""
    with _manual() as sim, connected(sim) as client:
        sim.buy(WALLET)
        client.configure()
        position_id = client.recv_type("position_opened")["position_id"]
        client.send("request_exit_signal", position_id=position_id)
        request = sim.received.wait_for(RequestExitSignal)
        assert request.position_id == position_id
        assert client.recv_type("exit_signal_with_tx")["reason"] == "sell_now"
        sim.land_exit(position_id)
        assert client.recv_type("position_closed")["reason"] == "sell_now"


def test_an_exit_that_was_not_signalled_cannot_land() -> None:
    """Landing needs a signal, and a position that is held."""
    sim = _manual()
    holding = sim.buy(WALLET)
    with pytest.raises(ConfigurationError, match="no exit signal"):
        sim.land_exit(holding)
    with pytest.raises(ConfigurationError, match="no wallet holds"):
        sim.land_exit(99)


def test_a_sale_lands_by_itself_where_asked_for() -> None:
    """With a delay of nothing the sale lands on the tick after the signal."""
    with _manual(auto_sell_after_ms=0) as sim, connected(sim) as client:
        sim.buy(WALLET, profits_pct=[9])
        client.configure()
        sim.received.wait_for(Configure)
        sim.step(2)
        assert _types(client, 7)[3:] == [
            "exit_signal_with_tx",
            "pnl_update",
            "balance_update",
            "position_closed",
        ]


def test_a_wallet_may_sell_by_itself() -> None:
    """A sale outside the session closes the position as manual; part of it does not."""
    with _manual() as sim, connected(sim) as client:
        holding = sim.buy(WALLET)
        client.configure()
        client.recv_type("position_opened")
        sim.sell(holding, tokens=1)
        assert client.recv()["tokens"] == holding.tokens - 1
        sim.sell(holding.token_account)
        assert _types(client, 1) == ["balance_update"]
        assert client.recv()["reason"] == "manual"


def test_prices_can_be_set_at_any_time() -> None:
    """A profit that is set is the profit of the ticks that follow."""
    with _manual(volatility_pct=9) as sim, connected(sim) as client:
        holding = sim.buy(WALLET)
        client.configure()
        sim.received.wait_for(Configure)
        sim.set_profit(holding, -3)
        sim.step(2)
        sim.set_profit_path(holding, [2])
        sim.step()
        profits = [client.recv_type("pnl_update")["profit_units"] for _ in range(3)]
    assert profits == [-3_000_000, -3_000_000, 2_000_000]


def test_a_wallet_can_be_registered_while_running() -> None:
    """A wallet that was refused is accepted once it is registered."""
    with _manual(wallets=[WALLET]) as sim, connected(sim) as client:
        client.configure(OTHER)
        assert client.recv_type("error")["code"] == "wallet_not_registered"
        sim.register_wallet(OTHER)
        sim.buy(OTHER)
        client.configure(OTHER)
        assert client.recv_type("position_opened")["wallet_pubkey"] == OTHER


def test_holdings_come_back_after_a_drop() -> None:
    """After a reconnect open positions are sent again, sold ones are not."""
    with _manual() as sim:
        sold, kept = sim.buy(WALLET), sim.buy(WALLET)
        with connected(sim) as client:
            client.configure()
            before = [client.recv_type("position_opened") for _ in range(2)]
            sim.drop()
            assert client.close_code() is None
        sim.sell(sold)
        with connected(sim) as client:
            client.configure()
            hello, balance, after = client.recv_many(3)
        assert hello["session_id"] == 2
        assert balance["token_account"] == kept.token_account
        for field in ("position_id", "tokens", "entry_quote_units", "opened_at_ms"):
            assert after[field] == before[1][field]
        assert after["slot"] == before[1]["slot"]


def test_ids_may_change_over_a_reconnect() -> None:
    """With renewed ids a position is found by the id its session gave it."""
    with _manual(position_ids="renewed") as sim:
        holding = sim.buy(WALLET)
        ids = []
        for _ in range(2):
            with connected(sim) as client:
                client.configure()
                ids.append(client.recv_type("position_opened")["position_id"])
                sim.set_profit(ids[-1], 1)
        assert ids[0] != ids[1]
        sim.wait_for_connections(0)
        assert sim.sell(holding).balance == 0


def test_what_a_client_stopped_tracking_is_silent() -> None:
    """After close_position there is a position_closed and no more PnL."""
    with _manual() as sim, connected(sim) as client:
        holding = sim.buy(WALLET)
        client.configure()
        client.send("close_position", token_account=holding.token_account)
        assert client.recv_type("position_closed")["reason"] == "manual"
        sim.received.wait_for(ClosePosition)
        sim.step(3)
        client.send("ping", client_time_ms=1)
        assert client.recv()["type"] == "pong"
        assert sim.holdings() == (holding,)


def test_a_breach_whose_signal_was_lost_is_signalled_to_who_comes_next() -> None:
    """A signal that died with its client comes again, a tick after the next configure."""
    with _manual() as sim:
        sim.buy(WALLET, profits_pct=[-10])
        with connected(sim) as leader:
            leader.configure(stop_loss_pct=10)
            sim.received.wait_for(Configure)
            sim.faults.lose(ExitSignalWithTx)
            sim.step()
            assert leader.recv_type("pnl_update")["profit_units"] == -10_000_000
            sim.drop()
        with connected(sim) as follower:
            follower.configure(stop_loss_pct=10)
            sim.received.wait_for(Configure)
            sim.step()
            assert follower.recv_type("exit_signal_with_tx")["reason"] == "stop_loss"


def test_two_sessions_see_the_same_chain() -> None:
    """Each session has its wallets' positions, and both see the sale of a shared one."""
    with _manual() as sim, connected(sim) as one, connected(sim) as two:
        one.configure(WALLET)
        two.configure(WALLET, OTHER)
        for _ in range(2):
            sim.received.wait_for(Configure)
        shared = sim.buy(WALLET)
        sim.buy(OTHER)
        assert [len(session.positions) for session in sim.sessions] == [1, 2]
        sim.sell(shared)
        for client in (one, two):
            closed = client.recv_type("position_closed")
            assert closed["token_account"] == shared.token_account


def test_starters_are_bought_for_an_empty_wallet() -> None:
    """A configured wallet that holds nothing gets holdings, one that does not gets none."""
    with _manual(starter_holdings=2) as sim, connected(sim) as client:
        sim.buy(OTHER)
        client.configure(WALLET, OTHER)
        opened = [client.recv_type("position_opened") for _ in range(3)]
        assert [message["wallet_pubkey"] for message in opened] == [
            WALLET,
            WALLET,
            OTHER,
        ]


def test_what_was_sent_can_be_waited_for() -> None:
    """The log of what was sent has signals, but not the flood of PnL."""
    with _manual() as sim, connected(sim) as client:
        sim.buy(WALLET, profits_pct=[5])
        client.configure()
        sim.received.wait_for(Configure)
        sim.step()
        signal = sim.sent.wait_for(ExitSignalWithTx)
        assert signal.reason == "target_profit"
        types = [entry.item.type for entry in sim.sent.entries()]
        assert types == [
            "hello_ok",
            "balance_update",
            "position_opened",
            "exit_signal_with_tx",
        ]


def test_the_same_seed_and_commands_give_the_same_frames() -> None:
    """Two servers of one seed, stepped and commanded alike, send the same to the byte."""
    assert _frames(7) == _frames(7)
    assert _frames(7) != _frames(8)


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_gives_the_same_frames(hash_seed: str) -> None:
    """Nothing in them hangs on the order of a set, or on where the process runs."""
    program = (
        "from tests.integration.sim.test_run import frames_digest; "
        "print(frames_digest(7))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.strip() == frames_digest(7)


def frames_digest(seed: int) -> str:
    """Return a digest of all frames of a seed."""
    return hashlib.sha256(b"\n".join(map(_bytes, _frames(seed)))).hexdigest()


def _frames(seed: int) -> list[str | bytes]:
    """Play a little of everything; return what a client is sent."""
    with (
        _manual(
            seed=seed,
            volatility_pct=1.0,
            tier="advanced",
            trade_ticks=True,
            auto_sell_after_ms=300,
            auto_buy_after_ms=100,
            refresh_after_ms=200,
        ) as sim,
        connected(sim) as client,
    ):
        client.send(
            "configure",
            wallet_pubkeys=[WALLET],
            strategy={
                "target_profit_pct": 0,
                "stop_loss_pct": 1,
                "take_profit_levels": [{"profit_pct": 0.5, "sell_pct": 50}],
                "liquidity_guard": True,
            },
            watch_wallets=[
                {
                    "pubkey": OTHER,
                    "auto_buy": {"wallet_pubkey": WALLET, "amount_quote_units": 9**9},
                    "mirror_sell": True,
                }
            ],
        )
        sim.received.wait_for(Configure)
        coin = sim.add_market(market_type="raydium_launchpad")
        theirs = sim.buy(OTHER, coin)
        client.send("mirror_buy_result", mint=coin, success=True)
        sim.received.wait_for(MirrorBuyResult)
        sim.buy(WALLET)
        sim.step(10)
        sim.graduate(coin)
        sim.sell(theirs)
        sim.step(10)
        last = sim.buy(WALLET, quote_units=77)
        sim.sell(last)
        frames: list[str | bytes] = []
        while b'"entry_quote_units":77' not in b"".join(map(_bytes, frames[-2:])):
            frames.append(client.socket.recv())
        return frames


def test_what_was_sold_when_and_at_what_price_can_be_asked() -> None:
    """The ledger has every sale with its time, its price and its reason."""
    with _manual(auto_sell_after_ms=0) as sim, connected(sim) as client:
        sim.fund(WALLET, 1_000_000_000)
        holding = sim.buy(WALLET, tokens=4_000_000, profits_pct=[0, 25])
        client.configure(target_profit_pct=25)
        sim.received.wait_for(Configure)
        before = sim.ledger
        sim.step(3)
        assert before.sales() == ()
        (sale,) = sim.ledger.sales(WALLET, holding.mint)
        assert (sale.reason, sale.tokens, sale.quote_units) == (
            "target_profit",
            4_000_000,
            125_000_000,
        )
        assert sale.price_quote == 31_250_000
        assert sale.time_ms == sim._clock.wall_ms()
        assert sim.ledger.funds(WALLET) == 1_025_000_000
        assert sim.ledger.gain(holding.position_id) == 25_000_000


def test_a_wallet_cannot_spend_what_it_does_not_have() -> None:
    """A funded wallet that cannot pay is an error that says what it has."""
    sim = _manual()
    sim.fund(WALLET, 5)
    with pytest.raises(InsufficientFundsError, match="has 5 SOL"):
        sim.buy(WALLET)


def test_positions_in_usd1_say_so() -> None:
    """A market in USD1 names its mint, and amounts are in its units."""
    with _manual() as sim, connected(sim) as client:
        coin = sim.add_market(market_type="raydium_cpmm", quote="USD1")
        sim.buy(WALLET, coin, quote_units=20_000_000)
        client.configure()
        context = client.recv_type("position_opened")["market_context"]
        venue = context["raydium_cpmm"]
        assert venue["quote_mint"].startswith("USD1")
        assert sim.ledger.holdings(WALLET)[0].quote == "USD1"


def test_a_graduation_changes_the_market_of_the_exit() -> None:
    """A strategy that sells on it does, with the next tick, on the new market."""
    with _manual() as sim, connected(sim) as client:
        coin = sim.add_market(market_type="pump_fun")
        holding = sim.buy(WALLET, coin)
        client.configure(sell_on_graduation=True)
        opened = client.recv_type("position_opened")
        assert opened["market_context"] == {"market_type": "pump_fun", "pumpfun": {}}
        sim.graduate(holding)
        sim.step()
        signal = client.recv_type("exit_signal_with_tx")
        assert signal["reason"] == "graduation"
        assert signal["market_context"]["market_type"] == "pump_swap"


def test_a_pool_can_be_drained() -> None:
    """Thinner liquidity shows in the snapshots, and the price does not move."""
    with _manual(liquidity_snapshots=True) as sim, connected(sim) as client:
        holding = sim.buy(WALLET, quote_units=1_000_000_000)
        client.configure()
        sim.received.wait_for(Configure)
        sim.step()
        before = client.recv_type("liquidity_snapshot")
        sim.set_liquidity(holding, 1_000_000_000)
        sim.step()
        after = client.recv_type("liquidity_snapshot")
        assert after["liquidity_trend"] == "draining"
        assert after["bands"][0]["max_tokens"] < before["bands"][0]["max_tokens"]


def test_a_mirror_buy_is_landed_by_hand() -> None:
    """Without a delay a signalled buy waits to be landed, for the wallet it is of."""
    with _manual() as sim, connected(sim) as client:
        client.send(
            "configure",
            wallet_pubkeys=[WALLET],
            strategy={"target_profit_pct": 5, "stop_loss_pct": 0},
            watch_wallets=[
                {
                    "pubkey": OTHER,
                    "auto_buy": {"wallet_pubkey": WALLET, "amount_quote_units": 1000},
                }
            ],
        )
        sim.received.wait_for(Configure)
        theirs = sim.buy(OTHER)
        assert client.recv_type("mirror_buy_signal")["user_wallet"] == WALLET
        with pytest.raises(ConfigurationError, match="was signalled"):
            sim.land_mirror_buy(theirs.mint, OTHER)
        ours = sim.land_mirror_buy(theirs.mint)
        assert (ours.mirror_source, ours.entry_quote_units) == (OTHER, 1000)
        assert client.recv_type("position_opened")["mirror_source"] == OTHER
        with pytest.raises(ConfigurationError, match="was signalled"):
            sim.land_mirror_buy(theirs.mint)


def test_what_was_sold_and_bought_again_while_away_is_another_position() -> None:
    """Same account, another id, slot and time of opening, also where ids are kept."""
    with _manual() as sim:
        first = sim.buy(WALLET)
        with connected(sim) as client:
            client.configure()
            before = client.recv_type("position_opened")
        sim.wait_for_connections(0)
        sim.sell(first)
        sim.buy(WALLET, first.mint)
        with connected(sim) as client:
            client.configure()
            after = client.recv_type("position_opened")
    assert after["token_account"] == before["token_account"]
    for field in ("position_id", "slot", "opened_at_ms"):
        assert after[field] > before[field]


def test_anything_can_be_waited_for() -> None:
    """A wait for the ledger ends with the sale that a tick lands."""
    with SimServer(pnl_flush_ms=10, auto_sell_after_ms=0) as sim:
        with connected(sim) as client:
            sim.buy(WALLET, profits_pct=[5])
            client.configure()
            sim.wait_until(lambda: sim.ledger.sales(WALLET))
        with pytest.raises(TimeoutError):
            sim.wait_until(lambda: sim.ledger.holdings(WALLET), timeout=0.05)


def _bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame
