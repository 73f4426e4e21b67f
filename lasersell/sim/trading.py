"""
The swap instructions of the venues, as the service writes them and the chain reads them.

The accounts of each instruction are listed by name, in the order of the venue's
published interface. What has no role here gets an address made up from its name.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence

import attrs
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from lasersell.sim.solana import associated_token_account, made_up_key
from lasersell.sim.venues import QUOTE_MINTS

__all__ = ["BUYS", "SALES", "Swap", "Trading", "instruction", "read_swap", "tag_of"]

_AMOUNTS = struct.Struct("<QQ")
_NAME_BYTES = 8


def tag_of(name: str) -> bytes:
    """Return the eight bytes by which an Anchor program knows an instruction."""
    return hashlib.sha256(f"global:{name}".encode()).digest()[:_NAME_BYTES]


@attrs.frozen
class Trading:
    """
    How one instruction of one venue trades.

    Attributes:
        program: The venue's program; base58.
        name: The instruction, as in the venue's interface.
        accounts: Names of its accounts, in order.
        received_first: Whether the amount to receive comes before the one to spend.
        tail: What follows the amounts.
        is_native: Whether the other side is the wallet's own SOL.
    """

    program: str
    name: str
    accounts: tuple[str, ...]
    received_first: bool = False
    tail: bytes = b""
    is_native: bool = False

    @property
    def tag(self) -> bytes:
        """The bytes by which the program knows the instruction."""
        return tag_of(self.name)

    def data(self, spent: int, received: int) -> bytes:
        """Return what the program is told: the most to spend, the least to receive."""
        amounts = (received, spent) if self.received_first else (spent, received)
        return self.tag + _AMOUNTS.pack(*amounts) + self.tail

    def amounts(self, data: bytes) -> tuple[int, int] | None:
        """Return the most to spend and the least to receive; None if there are none."""
        if len(data) != _NAME_BYTES + _AMOUNTS.size + len(self.tail):
            return None
        first, second = _AMOUNTS.unpack_from(data, _NAME_BYTES)
        return (second, first) if self.received_first else (first, second)

    def addresses(self, known: Mapping[str, str]) -> list[str]:
        """Return the addresses of its accounts; those not known are made up."""
        known = {"program": self.program, **known}
        return [
            known.get(name) or made_up_key(self.program, name) for name in self.accounts
        ]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_PUMP = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
_PUMP_AMM = "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA"
_DBC = "dbcij3LWUppWqq96dh6gJWwBifmcGfLSB5D4DuSMaqN"
_DAMM = "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG"
_LAUNCHPAD = "LanMV9sAd7wArD4vJFi2qDdfnVhFxYSUg6eADduJ3uj"
_CPMM = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"

_PUMP_SELL_ACCOUNTS = _names(
    "global fee_recipient base_mint pool pool_account user_base user system "
    "creator_vault base_program event_authority program fee_config fee_program"
)
_PUMP_BUY_ACCOUNTS = _names(
    "global fee_recipient base_mint pool pool_account user_base user system "
    "base_program creator_vault event_authority program global_volume volume"
)
_PUMP_AMM_ACCOUNTS = _names(
    "pool user global_config base_mint quote_mint user_base user_quote pool_base "
    "pool_quote fee_recipient fee_recipient_account base_program quote_program system "
    "associated event_authority program creator_vault_account creator_vault"
)
_DBC_ACCOUNTS = _names(
    "pool_authority config pool user_in user_out base_vault quote_vault base_mint "
    "quote_mint user base_program quote_program referral event_authority program"
)
_DAMM_ACCOUNTS = _names(
    "pool_authority pool user_in user_out base_vault quote_vault base_mint quote_mint "
    "user base_program quote_program referral event_authority program"
)
_LAUNCHPAD_ACCOUNTS = _names(
    "user authority config platform pool user_base user_quote base_vault quote_vault "
    "base_mint quote_mint base_program quote_program event_authority program"
)
_CPMM_ACCOUNTS = _names(
    "user authority config pool user_in user_out in_vault out_vault in_program "
    "out_program in_mint out_mint observation"
)

SALES = {
    "pump_fun": Trading(_PUMP, "sell", _PUMP_SELL_ACCOUNTS, is_native=True),
    "pump_swap": Trading(_PUMP_AMM, "sell", _PUMP_AMM_ACCOUNTS),
    "meteora_dbc": Trading(_DBC, "swap", _DBC_ACCOUNTS),
    "meteora_damm_v2": Trading(_DAMM, "swap", _DAMM_ACCOUNTS),
    "raydium_launchpad": Trading(
        _LAUNCHPAD, "sell_exact_in", _LAUNCHPAD_ACCOUNTS, tail=bytes(8)
    ),
    "raydium_cpmm": Trading(_CPMM, "swap_base_input", _CPMM_ACCOUNTS),
}
"""How a token is sold, by market type."""

BUYS = {
    "pump_fun": Trading(_PUMP, "buy_exact_sol_in", _PUMP_BUY_ACCOUNTS, is_native=True),
    "pump_swap": Trading(_PUMP_AMM, "buy_exact_quote_in", _PUMP_AMM_ACCOUNTS),
    "meteora_dbc": SALES["meteora_dbc"],
    "meteora_damm_v2": SALES["meteora_damm_v2"],
    "raydium_launchpad": Trading(
        _LAUNCHPAD, "buy_exact_in", _LAUNCHPAD_ACCOUNTS, tail=bytes(8)
    ),
    "raydium_cpmm": SALES["raydium_cpmm"],
}
"""How an exact amount of the quote is spent on a token, by market type."""

_BY_TAG = {
    (trading.program, trading.tag): trading
    for trading in (*SALES.values(), *BUYS.values())
}


def instruction(
    program: str, addresses: Sequence[str], data: bytes, signer: str
) -> Instruction:
    """Return an instruction whose accounts are all writable; only one of them signs."""
    metas = [
        AccountMeta(Pubkey.from_string(address), address == signer, True)
        for address in addresses
    ]
    return Instruction(Pubkey.from_string(program), data, metas)


@attrs.frozen
class Swap:
    """
    What a swap instruction asks for.

    Attributes:
        user: Who trades; base58.
        mint: The token; base58.
        account: The user's account of it; base58.
        is_sale: Whether the token is spent.
        spent: The most to spend.
        received: The least to receive.
    """

    user: str
    mint: str
    account: str
    is_sale: bool
    spent: int
    received: int


def read_swap(program: str, addresses: Sequence[str], data: bytes) -> Swap | None:
    """
    Return what an instruction trades; None if it is none that is known here.

    A trade from or into another account than the user's own of that token is none.
    """
    trading = _BY_TAG.get((program, data[:_NAME_BYTES]))
    if trading is None or len(addresses) < len(trading.accounts):
        return None
    amounts = trading.amounts(data)
    named = dict(zip(trading.accounts, addresses, strict=False))
    mint = _token_of(named)
    if amounts is None or mint is None:
        return None
    account = associated_token_account(named["user"], mint)
    if account not in (
        named.get(name) for name in ("user_base", "user_in", "user_out")
    ):
        return None
    paid_from = named.get("user_in")
    is_sale = trading in SALES.values() if paid_from is None else paid_from == account
    return Swap(named["user"], mint, account, is_sale, *amounts)


def _token_of(named: Mapping[str, str]) -> str | None:
    """Return the mint that is not the quote's."""
    mints = (named.get(name) for name in ("base_mint", "in_mint", "out_mint"))
    tokens = [mint for mint in mints if mint not in (None, *QUOTE_MINTS.values())]
    return tokens[0] if tokens else None
