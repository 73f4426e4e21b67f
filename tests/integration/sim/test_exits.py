"""A whole exit on the simulator: REST API, node, ledger and stream."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from solders.keypair import Keypair

from lasersell.errors import (
    ApiError,
    ConfigurationError,
    GuardRefusedError,
    HandshakeError,
    TxError,
)
from lasersell.exits.accounts import AccountReader
from lasersell.exits.api import ExitApiClient
from lasersell.exits.connect import connect_with_wallets
from lasersell.exits.keys import WalletKey
from lasersell.exits.ownership import prove_ownership
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.exits.transaction import SignedTransaction, decode_transaction
from lasersell.protocol.mirror import AutoBuy, WatchWallet
from lasersell.protocol.server import (
    ExitSignalWithTx,
    MirrorBuySignal,
    PositionClosed,
    PositionOpened,
)
from lasersell.protocol.strategy import StrategyConfig, TakeProfitLevel
from lasersell.session.session import StreamSession
from lasersell.sim import (
    DEFAULT_LIMITS,
    TIERS,
    Call,
    Holding,
    ManualClock,
    SimServer,
    SubmissionFault,
)
from lasersell.sim.ledger import Quote
from lasersell.sim.solana import made_up_key, made_up_signature
from lasersell.sim.tiers import TierName
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure
from tests.patience import PATIENCE
from tests.unit.exits.trades import build, table, transfer
from tests.unit.sim.test_transactions import every_market

pytestmark = pytest.mark.slow

KEY = WalletKey(Keypair.from_seed(bytes([1]) * 32))


class Desk:
    """Everything that sells on one simulator."""

    def __init__(self, sim: SimServer) -> None:
        self.sim = sim
        self.api = ExitApiClient("key", base_url=sim.api_url, attempts=1)
        self.submitter = Submitter([SendTarget.rpc(sim.rpc_url)], timeout=PATIENCE)
        self.careful = Submitter([SendTarget.rpc(sim.rpc_url, preflight=True)])
        self.reader = AccountReader(sim.rpc_url)
        self.signer = Signer([KEY], accounts=self.reader)

    def close(self) -> None:
        """Close every connection."""
        for part in (self.api, self.submitter, self.careful, self.reader):
            part.close()

    def connect(self, strategy: StrategyConfig, **more: Any) -> StreamSession:
        """Connect a session of the wallet."""
        client = StreamClient("key", endpoint=self.sim.url)
        configure = StreamConfigure([KEY.pubkey], strategy, **more)
        return StreamSession.connect(client, configure, wait_configured=0)

    def signed(self, holding: Holding, tokens: int | None = None) -> SignedTransaction:
        """Return a signed sale of a holding, built by the API."""
        request = sale_of(holding, tokens)
        return self.signer.sign_sell(self.api.build_sell_tx(request), request)

    def fails(self, signed: SignedTransaction, timeout: float = PATIENCE) -> TxError:
        """Return how a transaction fails, or that nothing was seen of it in time."""
        with pytest.raises(TxError) as caught:
            self.submitter.submit_and_confirm(signed, timeout=timeout, interval=0.05)
        return caught.value


@pytest.fixture
def desk(sim: SimServer) -> Iterator[Desk]:
    """Close what a test has opened."""
    desk = Desk(sim)
    yield desk
    desk.close()


def sale_of(holding: Holding, tokens: int | None = None) -> BuildSellTxRequest:
    """Return the request that sells a holding, or a part of it."""
    return BuildSellTxRequest(
        mint=holding.mint,
        user_pubkey=holding.wallet,
        amount_tokens=holding.tokens if tokens is None else tokens,
        output=holding.quote,
        # Not that of signals, so that it is another transaction.
        slippage_bps=900,
    )


# From the signal to the close


@pytest.mark.parametrize("lookup_tables", [False, True])
@pytest.mark.parametrize(("market_type", "quote"), every_market())
def test_a_signal_is_signed_lands_and_closes_its_position(
    desk: Desk, market_type: str, quote: Quote, lookup_tables: bool
) -> None:
    """On every market the default policy signs it, and the close is that sale's."""
    desk.sim.change_options(lookup_tables=lookup_tables)
    mint = desk.sim.add_market(market_type=market_type, quote=quote)
    desk.sim.buy(KEY.pubkey, mint, profits_pct=[0, 10])
    with desk.connect(StrategyConfig(target_profit_pct=5)) as session:
        signal = session.wait_for("exit_signal_with_tx", timeout=PATIENCE)
        assert isinstance(signal.message, ExitSignalWithTx)
        signed = desk.signer.sign_exit(signal.message, signal.handle)
        landed = desk.submitter.submit_and_confirm(signed)
        closed = session.wait_for("position_closed", timeout=PATIENCE).message
    assert isinstance(closed, PositionClosed)
    assert (closed.reason, closed.slot) == ("target_profit", landed.slot)
    (sale,) = desk.sim.ledger.sales(KEY.pubkey)
    assert (sale.signature, sale.slot) == (signed.signature, landed.slot)
    assert desk.sim.holdings() == ()


def test_a_part_of_a_position_is_that_levels_sale(desk: Desk) -> None:
    """A level that the API builds anew is still the level's, and the rest stays."""
    levels = [TakeProfitLevel(profit_pct=5, sell_pct=40)]
    holding = desk.sim.buy(KEY.pubkey, tokens=1_000_000, profits_pct=[0, 10])
    with desk.connect(StrategyConfig(take_profit_levels=levels)) as session:
        session.wait_for("exit_signal_with_tx", timeout=PATIENCE)
        desk.submitter.submit_and_confirm(desk.signed(holding, 400_000))
    (sale,) = desk.sim.ledger.sales()
    assert (sale.tokens, sale.level_index, sale.balance) == (400_000, 0, 600_000)
    assert desk.sim.submissions.entries()[0].item.level_index == 0


def test_a_sale_that_nobody_signalled_is_a_manual_one(desk: Desk) -> None:
    """Ordered at the API, it lands and closes the position all the same."""
    holding = desk.sim.buy(KEY.pubkey)
    with desk.connect(StrategyConfig(target_profit_pct=5)) as session:
        session.wait_for("position_opened", timeout=PATIENCE)
        desk.submitter.submit_and_confirm(desk.signed(holding))
        closed = session.wait_for("position_closed", timeout=PATIENCE).message
    assert isinstance(closed, PositionClosed)
    assert closed.reason == "manual"


def test_a_signal_of_ones_own_sells_too(desk: Desk) -> None:
    """What a test offers is like any other signal, and no offer is the same as another."""
    holding = desk.sim.buy(KEY.pubkey, tokens=1_000_000)
    first = desk.sim.offer_exit(holding, tokens=400_000, level_index=3)
    again = desk.sim.offer_exit(holding, tokens=400_000, level_index=3)
    assert first.unsigned_tx_b64 != again.unsigned_tx_b64
    with desk.connect(StrategyConfig(target_profit_pct=500)) as session:
        session.wait_for("position_opened", timeout=PATIENCE)
        desk.sim.send(first)
        signal = session.wait_for("exit_signal_with_tx", timeout=PATIENCE)
        assert isinstance(signal.message, ExitSignalWithTx)
        signed = desk.signer.sign_exit(signal.message, signal.handle)
        desk.submitter.submit_and_confirm(signed)
    (sale,) = desk.sim.ledger.sales()
    assert (sale.tokens, sale.level_index, sale.balance) == (400_000, 3, 600_000)


def test_a_buy_is_ordered_and_becomes_a_position(desk: Desk) -> None:
    """It spends what was asked for, and the stream tells of the position."""
    mint = desk.sim.add_market()
    request = BuildBuyTxRequest(
        mint=mint, user_pubkey=KEY.pubkey, amount=0.5, slippage_bps=100
    )
    with desk.connect(StrategyConfig(target_profit_pct=5)) as session:
        signed = desk.signer.sign_buy(desk.api.build_buy_tx(request), request)
        desk.submitter.submit_and_confirm(signed)
        opened = session.wait_for("position_opened", timeout=PATIENCE).message
    assert isinstance(opened, PositionOpened)
    assert (opened.mint, opened.entry_quote_units) == (mint, 500_000_000)


def test_a_mirror_buy_lands_with_its_source(desk: Desk) -> None:
    """Signed and submitted, the copy says whom it copies."""
    leader = made_up_key("leader")
    auto_buy = AutoBuy(wallet_pubkey=KEY.pubkey, amount_quote_units=50_000_000)
    watched = WatchWallet(pubkey=leader, auto_buy=auto_buy)
    strategy = StrategyConfig(target_profit_pct=5)
    with desk.connect(strategy, watch_wallets=[watched]) as session:
        session.sender.ping().wait(PATIENCE)
        bought = desk.sim.buy(leader)
        signal = session.wait_for("mirror_buy_signal", timeout=PATIENCE).message
        assert isinstance(signal, MirrorBuySignal)
        signed = desk.signer.sign_mirror_buy(signal, auto_buy)
        desk.submitter.submit_and_confirm(signed)
    (copy,) = desk.sim.holdings(KEY.pubkey)
    assert (copy.mint, copy.mirror_source) == (bought.mint, leader)


def test_a_whole_holding_is_sold_by_saying_zero(desk: Desk) -> None:
    """Zero is everything that the wallet holds, and the guard wants the position."""
    holding = desk.sim.buy(KEY.pubkey)
    built = desk.api.build_sell_tx(sale_of(holding, 0))
    with pytest.raises(GuardRefusedError, match="how much may be sold"):
        desk.signer.sign_sell(built, sale_of(holding, 0))
    signed = desk.signer.sign_sell(built, sale_of(holding))
    desk.submitter.submit_and_confirm(signed)
    assert desk.sim.holdings() == ()


# What the node refuses


def test_a_signature_of_somebody_else_is_refused(desk: Desk) -> None:
    """The node really verifies: another key's signature is none."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey))
    stranger = Keypair().sign_message(signed.raw[65:])
    forged = attrs.evolve(
        signed,
        raw=signed.raw[:1] + bytes(stranger) + signed.raw[65:],
        signature=str(stranger),
    )
    error = desk.fails(forged)
    assert "verification failure" in str(error)
    assert not error.is_retryable
    assert desk.sim.submissions.entries() == []


def test_slippage_is_real(desk: Desk) -> None:
    """A price that fell beyond what the transaction accepts fails it on the chain."""
    holding = desk.sim.buy(KEY.pubkey)
    signed = desk.signed(holding)
    desk.sim.set_profit(holding, -50)
    with pytest.raises(TxError) as caught:
        desk.careful.submit(signed)
    assert (caught.value.stage, caught.value.is_retryable) == ("preflight", True)
    assert desk.fails(signed).stage == "execute"
    assert desk.sim.holdings() == (holding,)


def test_what_is_not_held_cannot_be_sold(desk: Desk) -> None:
    """A second sale of the same tokens fails, and the ledger has one."""
    holding = desk.sim.buy(KEY.pubkey)
    first, second = desk.signed(holding), desk.signed(holding, holding.tokens - 1)
    desk.submitter.submit_and_confirm(first)
    error = desk.fails(second)
    assert error.stage == "execute"
    assert "'Custom': 1" in str(error)
    assert len(desk.sim.ledger.sales()) == 1


def test_no_more_than_what_is_left_can_be_sold(desk: Desk) -> None:
    """After a part was sold, a sale of the whole of before fails and takes nothing."""
    holding = desk.sim.buy(KEY.pubkey)
    whole = desk.signed(holding)
    desk.submitter.submit_and_confirm(desk.signed(holding, 5))
    assert "'Custom': 1" in str(desk.fails(whole))
    assert [sale.tokens for sale in desk.sim.ledger.sales()] == [5]


def test_what_landed_meanwhile_does_not_land_late(desk: Desk) -> None:
    """A transaction that was delayed and sent again is one sale, not two."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey), 5)
    desk.sim.faults.submissions("delay")
    desk.submitter.submit(signed)
    desk.submitter.submit_and_confirm(signed)
    desk.sim.faults.land_delayed()
    assert [sale.tokens for sale in desk.sim.ledger.sales()] == [5]


def test_a_transaction_executes_once(desk: Desk) -> None:
    """Submitted again it is the same one; with preflight the node says that it knows it."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey), 5)
    desk.submitter.submit_and_confirm(signed)
    assert desk.submitter.submit(signed).signature == signed.signature
    assert desk.careful.submit(signed).signature == signed.signature
    assert len(desk.sim.ledger.sales()) == 1


def test_an_old_block_hash_expires(desk: Desk) -> None:
    """Taken without preflight it never lands, refused with it."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey))
    desk.sim.faults.expire_blockhashes()
    with pytest.raises(TxError) as caught:
        desk.careful.submit(signed)
    assert "BlockhashNotFound" in str(caught.value.detail)
    assert desk.fails(signed, timeout=0.3).stage == "confirm"
    assert desk.sim.ledger.sales() == ()


def test_a_transaction_expires_for_certain(desk: Desk) -> None:
    """Seen good, then bad, and not landed: the client may build another one."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey))
    desk.sim.faults.submissions("delay")
    desk.submitter.submit(signed)

    def expire(call: Call) -> None:
        if call.name == "isBlockhashValid" and call.status is not None:
            desk.sim.faults.expire_blockhashes()

    desk.sim.watch_calls(expire)
    with pytest.raises(TxError) as caught:
        desk.submitter.confirm(signed, timeout=PATIENCE, interval=0.05)
    assert caught.value.stage == "expire"
    desk.sim.faults.land_delayed()
    assert desk.sim.ledger.sales() == ()


def test_what_is_no_trade_is_refused(desk: Desk) -> None:
    """What the simulator does not execute is an error, not silently taken."""
    unsigned = decode_transaction(build([transfer(5)]))
    signed = unsigned.signed_with(KEY.sign(unsigned.message_bytes), None)
    with pytest.raises(TxError, match="executes transactions with one trade"):
        desk.submitter.submit(signed)


def test_a_buy_of_what_is_held_fails(desk: Desk) -> None:
    """A position is opened by one buy, here; a second one fails on the chain."""
    holding = desk.sim.buy(KEY.pubkey)
    request = BuildBuyTxRequest(
        mint=holding.mint, user_pubkey=KEY.pubkey, amount_in_total=5, slippage_bps=0
    )
    signed = desk.signer.sign_buy(desk.api.build_buy_tx(request), request)
    assert desk.fails(signed).stage == "execute"
    assert desk.sim.holdings() == (holding,)


def test_a_table_that_nobody_knows_is_refused(desk: Desk) -> None:
    """Accounts in a look-up table of somebody else cannot be read."""
    tables = [table(made_up_key("account"))]
    unsigned = decode_transaction(
        build([transfer(5, to=made_up_key("account"))], tables=tables)
    )
    signed = unsigned.signed_with(KEY.sign(unsigned.message_bytes), None)
    with pytest.raises(TxError, match="no look-up table"):
        desk.submitter.submit(signed)


def test_delayed_ones_land_when_they_are_told_to(desk: Desk) -> None:
    """Taken and not seen, until the network has got round to it."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey))
    desk.sim.faults.submissions("delay")
    assert desk.fails(signed, timeout=0.3).stage == "confirm"
    desk.sim.faults.land_delayed()
    assert desk.submitter.confirm(signed).signature == signed.signature


@pytest.mark.parametrize(
    ("fault", "is_taken"),
    [
        ("lose_answer", True),
        ("lose_request", False),
        ("duplicate", True),
        ("slippage_exceeded", False),
        ("preflight_slippage", False),
        ("blockhash_not_found", False),
        ("rate_limited", False),
    ],
)
def test_a_fault_meets_one_submission(
    desk: Desk, fault: SubmissionFault, is_taken: bool
) -> None:
    """It lands or does not, as the fault says, and the next one is a usual one."""
    holding = desk.sim.buy(KEY.pubkey)
    signed = desk.signed(holding, 5)
    desk.sim.faults.submissions(fault)
    post(desk.sim, "/rpc", sending(signed))
    assert (len(desk.sim.ledger.sales()) == 1) is is_taken
    assert desk.sim.submissions.entries()[0].item.fault == fault
    desk.submitter.submit_and_confirm(desk.signed(holding, 6))
    assert desk.sim.ledger.sales()[-1].tokens == 6


def test_an_answer_that_never_comes_ends_by_the_time_out(desk: Desk) -> None:
    """The client gives up, though the sale has landed, and finds that out."""
    signed = desk.signed(desk.sim.buy(KEY.pubkey))
    desk.sim.faults.submissions("hang")
    with Submitter([SendTarget.rpc(desk.sim.rpc_url)], timeout=0.2) as hasty:
        with pytest.raises(TxError, match="did not answer in time") as caught:
            hasty.submit(signed)
        assert caught.value.is_retryable
    assert desk.submitter.submit_and_confirm(signed).signature == signed.signature
    assert len(desk.sim.ledger.sales()) == 1


def test_there_is_no_other_fault(sim: SimServer) -> None:
    """A name that is none is refused, with those that are."""
    with pytest.raises(ConfigurationError, match="lose_answer"):
        sim.faults.submissions("explode")  # type: ignore[arg-type]


def test_a_transaction_of_another_way_is_known(desk: Desk) -> None:
    """What a test settles is on the chain, with its error."""
    signature = made_up_signature("elsewhere")
    desk.sim.faults.settle(signature, {"InstructionError": [0, {"Custom": 6001}]})
    with pytest.raises(TxError) as caught:
        desk.submitter.confirm(signature)
    assert caught.value.stage == "execute"


def test_a_settled_transaction_becomes_final() -> None:
    """Confirmed at once, finalized 32 slots later."""
    clock = ManualClock()
    with (
        SimServer(clock=clock) as sim,
        Submitter([SendTarget.rpc(sim.rpc_url)]) as node,
    ):
        signature = made_up_signature("final")
        sim.faults.settle(signature)
        assert node.confirm(signature).status == "confirmed"
        clock.advance(32 * 400)
        assert node.confirm(signature, commitment="finalized").status == "finalized"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getBlock", [], -32601),
        ("sendTransaction", ["AA==", {"encoding": "base64"}], -32602),
        ("sendTransaction", ["AA=="], -32602),
        ("sendTransaction", [7, {"encoding": "base64"}], -32602),
        ("sendTransaction", ["AA==", 7], -32602),
        ("isBlockhashValid", [], -32602),
        ("getSignatureStatuses", [None], -32602),
    ],
)
def test_a_call_that_makes_no_sense_is_an_error(
    sim: SimServer, method: str, params: list[Any], code: int
) -> None:
    """The code is the one that nodes answer with."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    status, answer = post(sim, "/rpc", asked)
    assert (status, answer["error"]["code"]) == (200, code)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"method": 7}', b"\xff"])
def test_what_is_no_call_is_an_error(sim: SimServer, body: bytes) -> None:
    """The parser's error, with HTTP 200."""
    status, answer = post(sim, "/rpc", body)
    assert (status, answer["error"]["code"]) == (200, -32700)


def test_the_newest_block_hash_is_told(sim: SimServer) -> None:
    """It is valid, and the height until which it is."""
    asked = {"jsonrpc": "2.0", "id": 1, "method": "getLatestBlockhash"}
    value = post(sim, "/rpc", asked)[1]["result"]["value"]
    asked |= {"method": "isBlockhashValid", "params": [value["blockhash"]]}
    assert post(sim, "/rpc", asked)[1]["result"]["value"] is True
    slot = post(sim, "/rpc", asked | {"method": "getSlot", "params": []})[1]["result"]
    assert slot <= value["lastValidBlockHeight"] <= slot + 150


def test_accounts_are_told(desk: Desk) -> None:
    """A token account has its mint and its owner, and nothing is at other addresses."""
    holding = desk.sim.buy(KEY.pubkey)
    account = desk.reader.token_account(holding.token_account)
    assert account is not None
    assert (account.mint, account.owner) == (holding.mint, KEY.pubkey)
    assert desk.reader.token_account(made_up_key("nothing")) is None


# The REST API


def test_wallets_are_registered_before_they_are_configured() -> None:
    """A proof of the wallet's key registers it, and then the stream takes it."""
    strategy = StrategyConfig(target_profit_pct=5)
    configure = StreamConfigure([KEY.pubkey], strategy)
    with (
        SimServer(wallets=[]) as sim,
        ExitApiClient("key", base_url=sim.api_url) as api,
    ):
        client = StreamClient("key", endpoint=sim.url)
        with connect_with_wallets(api, client, configure, [KEY]) as session:
            assert session.state == "live"
        assert api.unregister_wallet(KEY.pubkey)
        assert not api.unregister_wallet(KEY.pubkey)
        with pytest.raises(HandshakeError, match="not registered"):
            StreamSession.connect(client, configure)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"wallet_pubkey": "nobody"}, 400),
        ({"wallet_pubkey": made_up_key("other")}, 400),
        ({"signature": made_up_signature("x")}, 403),
        ({"message": f"lasersell-register:{KEY.pubkey}:17"}, 400),
        ({"message": "hello"}, 400),
        ({"message": None}, 400),
    ],
)
def test_a_proof_that_proves_nothing_is_refused(
    sim: SimServer, changes: dict[str, Any], status: int
) -> None:
    """Another wallet, a bad signature, or one that is too old."""
    proof = attrs.asdict(prove_ownership(KEY)) | changes
    assert post(sim, "/v1/wallets/register", proof)[0] == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"mint": "nothing"}, 400),
        ({"mint": made_up_key("unknown")}, 404),
        ({"user_pubkey": 7}, 400),
        ({"amount_tokens": -1}, 400),
        ({"amount_tokens": True}, 400),
        ({"amount_tokens": None}, 400),
        ({"slippage_bps": 10_001}, 400),
        ({"output": "USD1"}, 422),
        ({"output": None}, 400),
        ({"mode": "slow"}, 400),
        ({"send_mode": "pigeon"}, 400),
        ({"tip_lamports": -1}, 400),
        ({"partner_fee_bps": 51}, 400),
        ({"partner_fee_bps": 5, "partner_fee_lamports": 5}, 400),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    sim: SimServer, changes: dict[str, Any], status: int
) -> None:
    """With the status that is documented, and a text."""
    holding = sim.buy(KEY.pubkey)
    order = sale_of(holding).to_payload() | changes
    found, body = post(sim, "/v1/sell", order)
    assert found == status
    assert isinstance(body, dict)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_in_total": 0},
        {"amount": 1, "amount_in_total": 5},
        {"amount": "1"},
        {"amount": 1e-12},
        {},
    ],
)
def test_a_buy_of_nothing_is_refused(sim: SimServer, changes: dict[str, Any]) -> None:
    """It names one amount, and that is at least one unit."""
    order = {"mint": sim.add_market(), "user_pubkey": KEY.pubkey, "slippage_bps": 5}
    assert post(sim, "/v1/buy", order | changes)[0] == 400


def test_what_nobody_knows_yet_is_told_as_documented(desk: Desk) -> None:
    """A mint too new may be asked for again; one without a route may not."""
    request = attrs.evolve(
        sale_of(desk.sim.buy(KEY.pubkey)), mint=made_up_key("unknown")
    )
    with pytest.raises(ApiError) as unknown:
        desk.api.build_sell_tx(request)
    assert (unknown.value.reason, unknown.value.is_retryable) == ("not_indexed", True)
    routeless = desk.sim.add_market(is_routable=False)
    with pytest.raises(ApiError) as refused:
        desk.api.build_sell_tx(attrs.evolve(request, mint=routeless))
    assert (refused.value.status, refused.value.reason) == (404, "no_route")


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_refused(sim: SimServer, body: bytes) -> None:
    """With a 400, not a crash."""
    assert post(sim, "/v1/sell", body)[0] == 400


def test_a_sale_of_all_of_nothing_is_refused(desk: Desk) -> None:
    """Zero is everything, and there is nothing."""
    holding = desk.sim.buy(KEY.pubkey)
    desk.sim.sell(holding)
    with pytest.raises(ApiError, match="holds none"):
        desk.api.build_sell_tx(sale_of(holding, 0))


def test_partner_fees_need_a_higher_tier() -> None:
    """The Personal tier is refused, as documented."""
    with SimServer(tier="personal") as sim:
        order = sale_of(sim.buy(KEY.pubkey)).to_payload()
        fee = {"partner_fee_bps": 5, "partner_fee_recipient": made_up_key("partner")}
        assert post(sim, "/v1/sell", order | fee)[0] == 403


def test_the_key_is_asked_for(sim: SimServer) -> None:
    """Without one, or with one that is not known, it is a 401; health needs none."""
    sim.change_options(api_keys=["known"])
    assert post(sim, "/v1/account", b"", "GET", "unknown")[0] == 401
    assert post(sim, "/v1/account", b"", "GET", "")[0] == 401
    assert post(sim, "/v1/account", b"", "GET", "known")[0] == 200
    assert post(sim, "/healthz", b"", "GET", "")[0] == 200


@pytest.mark.parametrize(
    ("tier", "number", "name"),
    [
        ("personal", 0, "free"),
        ("professional", 1, "tier_1"),
        ("advanced", 2, "tier_2"),
        (None, 2, "tier_2"),
    ],
)
def test_the_account_is_told(tier: TierName | None, number: int, name: str) -> None:
    """The tier and its limits, as the stream announces them."""
    with SimServer(tier=tier) as sim, ExitApiClient("key", base_url=sim.api_url) as api:
        account = api.account()
        limits = DEFAULT_LIMITS if tier is None else TIERS[tier].limits
    assert (account.tier, account.tier_name) == (number, name)
    assert account.limits.max_wallets == limits.max_wallets_per_session
    assert account.limits.max_positions_per_session == limits.max_positions_per_session


def test_the_history_is_told(desk: Desk) -> None:
    """Newest first, with what each position brought, in pages and by token."""
    first, second = desk.sim.buy(KEY.pubkey), desk.sim.buy(KEY.pubkey)
    desk.sim.set_profit(first, 10)
    desk.sim.sell(first, tokens=first.tokens // 2)
    desk.sim.sell(first)
    history = desk.api.history()
    assert [trade.mint for trade in history.trades] == [second.mint, first.mint]
    closed, opened = history.trades[1], history.trades[0]
    brought = sum(sale.quote_units for sale in desk.sim.ledger.sales())
    assert (closed.exit_quote_units, closed.exit_reason) == (brought, "manual")
    assert closed.profit_quote_units == brought - first.entry_quote_units
    assert (opened.closed_at, opened.market_kind) == (None, "PumpSwap")
    assert [t.mint for t in desk.api.history(offset=1).trades] == [first.mint]
    assert [t.mint for t in desk.api.history(mint=second.mint).trades] == [second.mint]
    assert desk.api.history(wallet=made_up_key("other")).total == 0


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "limit=x"])
def test_a_page_that_is_none_is_refused(sim: SimServer, query: str) -> None:
    """The limits of the documents hold."""
    assert post(sim, f"/v1/history?{query}", b"", "GET")[0] == 400


# Faults of calls


def test_calls_are_refused_for_a_while(desk: Desk) -> None:
    """As often as it was asked for, with the headers, and only those of the name."""
    holding = desk.sim.buy(KEY.pubkey)
    desk.sim.refuse_calls("/v1/sell", 429, headers={"Retry-After": "7"}, times=1)
    with pytest.raises(ApiError) as caught:
        desk.api.build_sell_tx(sale_of(holding))
    assert (caught.value.status, caught.value.retry_after) == (429, 7.0)
    desk.sim.refuse_calls("sendTransaction")
    signed = desk.signed(holding)
    with pytest.raises(TxError, match="HTTP 503"):
        desk.submitter.submit(signed)
    desk.sim.accept_calls()
    desk.submitter.submit_and_confirm(signed)


def test_calls_are_logged_and_watched(desk: Desk) -> None:
    """Each is shown when it comes and before it is answered, and is in the log then."""
    seen: list[tuple[str, int | None]] = []
    desk.sim.watch_calls(lambda call: seen.append((call.name, call.status)))
    assert desk.api.health()
    desk.sim.watch_calls(None)
    desk.api.account()
    assert seen == [("/healthz", None), ("/healthz", 200)]
    assert [call.name for call in desk.sim.calls.of(Call)] == [
        "/healthz",
        "/v1/account",
    ]


def sending(signed: SignedTransaction) -> dict[str, Any]:
    """Return the call that submits a transaction."""
    config = {"encoding": "base64", "skipPreflight": True}
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "sendTransaction",
        "params": [signed.base64, config],
    }


def post(
    sim: SimServer, path: str, body: Any, method: str = "POST", key: str = "key"
) -> tuple[int, Any]:
    """Return status and decoded body of a request; 0 and None if there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", sim.port, timeout=PATIENCE)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, {"x-api-key": key})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (http.client.HTTPException, ConnectionError):
        return 0, None
    finally:
        connection.close()
