"""
The REST API: transactions to order, wallets to register, the account, its history.

Section 9 of the protocol facts. Partner fees are checked, and not collected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from lasersell.errors import ConfigurationError
from lasersell.protocol.pubkey import check_pubkey
from lasersell.sim.chain import Chain
from lasersell.sim.history import positions_of
from lasersell.sim.markets import Market
from lasersell.sim.options import SimOptions
from lasersell.sim.reports import Sender, less
from lasersell.sim.solana import associated_token_account, is_signed_by
from lasersell.sim.tiers import TierName
from lasersell.sim.transactions import (
    DEFAULT_TIP_LAMPORTS,
    unsigned_buy,
    unsigned_sell,
)
from lasersell.sim.venues import wire_key

__all__ = ["Rest", "RestError"]

_MAX_U64 = 2**64 - 1
_MAX_SLIPPAGE_BPS = 10_000
_MAX_PARTNER_BPS = 50
_MAX_PARTNER_LAMPORTS = 50_000_000
_UNITS = {"SOL": 10**9, "USD1": 10**6}
_PROOF = re.compile(r"lasersell-register:(\w+):(\d{1,12})")
_PROOF_LIFE_SEC = 300
_MAX_HISTORY = 200
_TIERS: dict[TierName | None, int] = {
    "personal": 0,
    "professional": 1,
    "advanced": 2,
    "enterprise": 2,
    None: 2,
}
_TIER_NAMES = ("free", "tier_1", "tier_2")

Json = dict[str, Any]


class RestError(Exception):
    """
    A call is refused.

    Attributes:
        status: The HTTP status.
        body: What is answered.
    """

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class Rest:
    """
    What the REST API answers; one thread at a time may use it.

    Args:
        chain: What it knows.
        options: Returns how the server behaves now.
        tier: The tier of the account; None is the highest.
    """

    def __init__(
        self,
        chain: Chain,
        options: Callable[[], SimOptions],
        tier: TierName | None,
    ) -> None:
        self._chain = chain
        self._options = options
        self._tier = _TIERS[tier]

    # --- transactions ---------------------------------------------------------

    def sell(self, order: Json) -> Json:
        """Return a transaction that sells, and where."""
        market = self._market(order, "output")
        wallet = _pubkey(order, "user_pubkey")
        slippage_bps = self._checked_terms(order)
        account = associated_token_account(wallet, market.mint)
        tokens = self._amount_held(account, order)
        text = unsigned_sell(
            self._sender(order).place(market, wallet, self._chain.blockhash()),
            tokens=tokens,
            min_quote_units=less(market.pool.proceeds(tokens), slippage_bps),
        )
        self._offer_sale(text, account, tokens)
        return _built(text, market)

    def buy(self, order: Json) -> Json:
        """Return a transaction that buys, and where."""
        market = self._market(order, "input")
        wallet = _pubkey(order, "user_pubkey")
        slippage_bps = self._checked_terms(order)
        quote_units = _amount_to_spend(order, market)
        text = unsigned_buy(
            self._sender(order).place(market, wallet, self._chain.blockhash()),
            quote_units=quote_units,
            min_tokens=less(market.pool.tokens_for(quote_units), slippage_bps),
        )
        return _built(text, market)

    def _market(self, order: Json, side: str) -> Market:
        try:
            mint = check_pubkey(str(order.get("mint", "")), "mint")
        except ConfigurationError as error:
            raise _unsupported(400, "invalid_mint", str(error)) from error
        if mint not in self._chain.markets:
            reason = "mint not indexed yet; try again shortly"
            body = {"status": "not_indexed", "mint": mint, "reason": reason}
            raise RestError(404, body)
        market = self._chain.market(mint)
        if not market.is_routable:
            raise _unsupported(404, "no_route", f"no route for {mint}")
        default = "SOL" if side == "input" else None
        asset = _one_of(order, side, ("SOL", "USD1"), default)
        if asset != market.quote:
            raise _refused(422, f"{mint} trades against {market.quote}, not {asset}")
        return market

    def _checked_terms(self, order: Json) -> int:
        """Check what buying and selling have in common; return the slippage."""
        _one_of(order, "mode", ("fast", "secure"), "fast")
        bps = _whole(order, "partner_fee_bps", _MAX_PARTNER_BPS, 0)
        lamports = _whole(order, "partner_fee_lamports", _MAX_PARTNER_LAMPORTS, 0)
        if order.get("partner_fee_recipient") is not None:
            _pubkey(order, "partner_fee_recipient")
            if self._tier < _TIERS["advanced"]:
                raise _refused(403, "partner fees need a higher tier")
        if bps and lamports:
            raise _refused(400, "give one of partner_fee_bps and partner_fee_lamports")
        return _whole(order, "slippage_bps", _MAX_SLIPPAGE_BPS)

    def _sender(self, order: Json) -> Sender:
        modes = ("rpc", "helius_sender", "astralane")
        return Sender(
            session_id=0,
            send_mode=_one_of(order, "send_mode", modes, "rpc"),
            tip_lamports=_whole(order, "tip_lamports", _MAX_U64, DEFAULT_TIP_LAMPORTS),
            has_table=self._options().lookup_tables,
        )

    def _amount_held(self, account: str, order: Json) -> int:
        tokens = _whole(order, "amount_tokens", _MAX_U64)
        if tokens:
            return tokens
        held = self._chain.ledger.holding(account)
        if held is None:
            raise _refused(400, "the wallet holds none of it")
        return held.tokens

    def _offer_sale(self, text: str, account: str, tokens: int) -> None:
        # A client that builds an exit anew sells what the signal did; so the sale that
        # lands is that exit's.
        orders = self._chain.orders
        pending = orders.exit_of(account, tokens)
        held = self._chain.ledger.holding(account)
        if pending is None and held is not None and held.tokens == tokens:
            pending = orders.exit_of(account, None)
        if pending is not None:
            orders.offer(text, pending)

    # --- wallets --------------------------------------------------------------

    def register(self, proof: Json) -> Json:
        """Register the wallet whose key signed the proof."""
        wallet = _pubkey(proof, "wallet_pubkey")
        message, signature = proof.get("message"), proof.get("signature")
        if not isinstance(message, str) or not isinstance(signature, str):
            raise _refused(400, "message and signature must be texts")
        named = _PROOF.fullmatch(message)
        if named is None or named[1] != wallet:
            raise _refused(400, "the message must be lasersell-register:<wallet>:<s>")
        if abs(self._chain.now_ms() / 1000 - int(named[2])) > _PROOF_LIFE_SEC:
            raise _refused(400, "the timestamp is more than 5 minutes off")
        if not is_signed_by(wallet, message.encode(), signature):
            raise _refused(403, "the signature is not the wallet's")
        self._chain.register(wallet)
        return {"wallet_pubkey": wallet, "registered": True}

    def unregister(self, order: Json) -> Json:
        """Remove a wallet."""
        wallet = _pubkey(order, "wallet_pubkey")
        return {"wallet_pubkey": wallet, "removed": self._chain.unregister(wallet)}

    # --- the account ----------------------------------------------------------

    def account(self) -> Json:
        """Return the tier and its limits."""
        limits = self._options().limits
        return {
            "tier": self._tier,
            "tier_name": _TIER_NAMES[self._tier],
            "limits": {
                "max_wallets": limits.max_wallets_per_session,
                "max_positions_per_wallet": limits.max_positions_per_wallet,
                "max_positions_per_session": limits.max_positions_per_session,
            },
        }

    def history(self, query: Mapping[str, str]) -> Json:
        """Return a page of positions, newest first."""
        limit, offset = _number(query, "limit", 50), _number(query, "offset", 0)
        if not 1 <= limit <= _MAX_HISTORY:
            raise _refused(400, f"limit must be from 1 to {_MAX_HISTORY}")
        wanted = {
            field: query[name]
            for name, field in (("mint", "mint"), ("wallet", "wallet_pubkey"))
            if name in query
        }
        positions = positions_of(
            self._chain.ledger.trades,
            lambda mint: self._chain.market(mint).market_type,
        )
        found = [told for told in positions if wanted.items() <= told.items()]
        return {"trades": found[offset : offset + limit], "total": len(found)}


def _built(text: str, market: Market) -> Json:
    route = {"market_type": wire_key(market.market_type), "pool_id": market.address}
    return {"status": "ok", "tx": text, "route": route, "debug": {}}


def _refused(status: int, problem: str) -> RestError:
    return RestError(status, {"error": problem})


def _unsupported(status: int, reason: str, message: str) -> RestError:
    body = {"status": "unsupported", "reason": reason, "message": message}
    return RestError(status, body)


def _amount_to_spend(order: Json, market: Market) -> int:
    amount, in_total = order.get("amount"), order.get("amount_in_total")
    if (amount is None) == (in_total is None):
        raise _refused(400, "give one of amount and amount_in_total")
    if amount is None:
        units = _whole(order, "amount_in_total", _MAX_U64)
    elif isinstance(amount, (int, float)) and not isinstance(amount, bool):
        units = round(amount * _UNITS[market.quote])
    else:
        raise _refused(400, "amount must be a number")
    if units < 1:
        raise _refused(400, "a buy spends at least one atomic unit")
    return units


def _pubkey(order: Json, name: str) -> str:
    try:
        return check_pubkey(str(order.get(name, "")), name)
    except ConfigurationError as error:
        raise _refused(400, str(error)) from error


def _whole(order: Json, name: str, most: int, default: int | None = None) -> int:
    value = order.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or not 0 <= value <= most:
        raise _refused(400, f"{name} must be a whole number from 0 to {most}")
    return value


def _one_of(
    order: Json, name: str, choices: Collection[str], default: str | None
) -> str:
    value = order.get(name)
    if value is None and default is not None:
        return default
    if value not in choices:
        raise _refused(400, f"{name} must be one of {', '.join(choices)}")
    return str(value)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdecimal():
        raise _refused(400, f"{name} must be a whole number")
    return int(text)
