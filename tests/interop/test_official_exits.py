"""The official SDK sells on our server: its REST client, its signing, its submission."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Coroutine
from typing import Any

import pytest
from solders.keypair import Keypair

from lasersell.sim import Call, SimServer

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="lasersell-sdk needs Python 3.11 or later, "
    "and then: pip install lasersell-sdk==1.1.0",
)

_KEYPAIR = Keypair.from_seed(bytes([1]) * 32)
_WALLET = str(_KEYPAIR.pubkey())


def _api(sim: SimServer, module: Any) -> Any:
    return module.ExitApiClient.with_api_key("a-key").with_base_url(sim.api_url)


def _run(scenario: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(scenario, 20))


async def _sign_and_send(sim: SimServer, unsigned: str) -> str:
    tx = importlib.import_module("lasersell_sdk.tx")
    signed = tx.sign_unsigned_tx(unsigned, _KEYPAIR)
    signature: str = await tx.send_transaction(tx.SendTargetRpc(sim.rpc_url), signed)
    return signature


def test_its_order_is_built_signed_and_sold(sim: SimServer) -> None:
    """The wallet is registered, the sale ordered, and what it signs lands."""
    module = importlib.import_module("lasersell_sdk.exit_api")
    holding = sim.buy(_WALLET)
    request = module.BuildSellTxRequest(
        mint=holding.mint,
        user_pubkey=_WALLET,
        amount_tokens=holding.tokens,
        output="SOL",
        slippage_bps=500,
    )

    async def scenario() -> str:
        api = _api(sim, module)
        await api.register_wallet(module.prove_ownership(_KEYPAIR), "its wallet")
        return await _sign_and_send(sim, await api.build_sell_tx_b64(request))

    signature = _run(scenario())
    (sale,) = sim.ledger.sales(_WALLET)
    assert (sale.signature, sale.balance) == (signature, 0)
    names = [call.name for call in sim.calls.of(Call)]
    assert names == ["/v1/wallets/register", "/v1/sell", "sendTransaction"]


def test_its_buy_is_built_signed_and_landed(sim: SimServer) -> None:
    """A buy of 0.1 SOL becomes a holding that cost that."""
    module = importlib.import_module("lasersell_sdk.exit_api")
    request = module.BuildBuyTxRequest(
        mint=sim.add_market(), user_pubkey=_WALLET, slippage_bps=500, amount=0.1
    )

    async def scenario() -> str:
        built = await _api(sim, module).build_buy_tx(request)
        return await _sign_and_send(sim, built.tx)

    _run(scenario())
    (holding,) = sim.holdings(_WALLET)
    assert holding.entry_quote_units == 100_000_000


def test_it_understands_what_is_refused(sim: SimServer) -> None:
    """A token that nobody knows yet is an HTTP status to it, as the service's would be."""
    module = importlib.import_module("lasersell_sdk.exit_api")
    request = module.BuildSellTxRequest(
        mint=str(Keypair().pubkey()),
        user_pubkey=_WALLET,
        amount_tokens=1,
        output="SOL",
        slippage_bps=500,
    )
    with pytest.raises(module.ExitApiError) as caught:
        _run(_api(sim, module).build_sell_tx(request))
    assert (caught.value.kind, caught.value.status) == ("http_status", 404)
