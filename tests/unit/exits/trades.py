"""
Transactions as the service builds them, and the parts of ones it should not build.

The accounts of each instruction are listed by name, in the order of the venue's
published interface, here and in the simulator, which shares nothing with the guard: so a
wrong position in the guard cannot hide behind the same mistake. What has no role in a
test gets an address made up from its name.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from lasersell.exits.keys import WalletKey
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.sim import trading as simulated
from lasersell.sim.trading import Trading

TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
ASSOCIATED = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
SYSTEM = "11111111111111111111111111111111"
COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
WSOL = "So11111111111111111111111111111111111111112"
USD1 = "USD1ttGY1N17NEEHLmELoaybftRBUSErhqYiQzvEmuB"
RENT = 2_039_280


def seed_key(number: int) -> WalletKey:
    """Return the deterministic test key of a number."""
    return WalletKey(Keypair.from_seed(bytes([number]) * 32))


def made_up(name: str) -> str:
    """Return an address that depends on a name alone."""
    return str(Pubkey(hashlib.sha256(name.encode()).digest()))


OWN = seed_key(1)
WALLET = OWN.pubkey
MINT = seed_key(11).pubkey
OTHER_MINT = seed_key(12).pubkey
THIEF = seed_key(99).pubkey
TOKENS = 5_000_000


def ata(wallet: str = WALLET, mint: str = MINT, program: str = TOKEN) -> str:
    """Return the associated token account of a wallet."""
    keys = (Pubkey.from_string(text) for text in (wallet, mint, program))
    return str(get_associated_token_address(*keys))


def instruction(
    program: str, accounts: Sequence[str], data: bytes, signer: str = WALLET
) -> Instruction:
    """Return an instruction whose accounts are all writable, and one of them signs."""
    return simulated.instruction(program, accounts, data, signer)


def anchor(name: str) -> bytes:
    """Return the first eight bytes of an Anchor instruction."""
    return simulated.tag_of(name)


# Venues

_PUMP_SWAP_2 = (
    "pool user global_config base_mint quote_mint user_base user_quote pool_base "
    "pool_quote base_program quote_program system volume fee_config buyback "
    "event_authority program"
)
_PUMP_SELL_2 = (
    "global base_mint quote_mint base_program quote_program associated fee_recipient "
    "fee_quote buyback buyback_quote curve curve_base curve_quote user user_base "
    "user_quote creator_vault creator_quote sharing volume volume_quote fee_config "
    "fee_program system event_authority program"
)
_PUMP_3 = (
    "global base_mint quote_mint base_program quote_program curve curve_base curve_quote "
    "user user_base user_quote volume fee_config buyback system event_authority program"
)


def _like(
    trading: Trading, name: str, accounts: str | None = None, **more: Any
) -> Trading:
    """Return another instruction of the same program."""
    names = trading.accounts if accounts is None else tuple(accounts.split())
    return attrs.evolve(trading, name=name, accounts=names, **more)


_PUMP, _PUMP_AMM = simulated.SALES["pump_fun"], simulated.SALES["pump_swap"]
_DBC, _DAMM = simulated.SALES["meteora_dbc"], simulated.SALES["meteora_damm_v2"]
_LAUNCHPAD, _CPMM = (
    simulated.SALES["raydium_launchpad"],
    simulated.SALES["raydium_cpmm"],
)
PUMP_AMM = _PUMP_AMM.program

SALES = {
    **simulated.SALES,
    "pump_fun_v2": _like(_PUMP, "sell_v2", _PUMP_SELL_2, is_native=False),
    "pump_fun_v3": _like(_PUMP, "sell_v3", _PUMP_3, is_native=False),
    "pump_swap_v2": _like(_PUMP_AMM, "sell_v2", _PUMP_SWAP_2),
    "meteora_dbc_2": _like(_DBC, "swap2", tail=b"\x00"),
    "meteora_dbc_2_partial": _like(_DBC, "swap2", tail=b"\x01"),
    "meteora_dbc_2_out": _like(_DBC, "swap2", received_first=True, tail=b"\x02"),
    "meteora_damm_v2_2": _like(_DAMM, "swap2", tail=b"\x00"),
    "raydium_launchpad_out": _like(_LAUNCHPAD, "sell_exact_out", received_first=True),
    # Its arguments are the most to spend, and then the amount to get.
    "raydium_cpmm_out": _like(_CPMM, "swap_base_output"),
}
"""Every documented way to sell."""

_PUMP_BUY, _PUMP_AMM_BUY = simulated.BUYS["pump_fun"], simulated.BUYS["pump_swap"]

BUYS = {
    **simulated.BUYS,
    "pump_fun_out": _like(_PUMP_BUY, "buy", received_first=True),
    "pump_fun_v3": _like(
        _PUMP_BUY, "buy_exact_quote_in_v3", _PUMP_3, is_native=False, tail=b"\x01"
    ),
    "pump_swap_out": _like(_PUMP_AMM_BUY, "buy", received_first=True, tail=b"\x01"),
    "raydium_launchpad_out": _like(_LAUNCHPAD, "buy_exact_out", received_first=True),
}
"""Ways to buy."""


def swap(
    trading: Trading,
    *,
    is_sale: bool,
    spent: int,
    received: int,
    quote: str = WSOL,
    changes: Mapping[str, str] | None = None,
    data: bytes | None = None,
) -> Instruction:
    """
    Return a trade of the token for the quote, or the other way.

    Args:
        trading: Which instruction of which venue.
        is_sale: Whether the token is spent.
        spent: Most that is spent.
        received: Least that is received.
        quote: What the token trades against.
        changes: Accounts to replace, by name.
        data: What to tell the venue instead.
    """
    base_account, quote_account = ata(), ata(mint=quote)
    known: dict[str, str] = {
        "user": WALLET,
        "base_mint": MINT,
        "quote_mint": quote,
        "user_base": base_account,
        "user_quote": quote_account,
        "user_in": base_account if is_sale else quote_account,
        "user_out": quote_account if is_sale else base_account,
        "in_mint": MINT if is_sale else quote,
        "out_mint": quote if is_sale else MINT,
        "base_program": TOKEN,
        "quote_program": TOKEN,
        "in_program": TOKEN,
        "out_program": TOKEN,
        "system": SYSTEM,
        "associated": ASSOCIATED,
        **(changes or {}),
    }
    told = trading.data(spent, received) if data is None else data
    return instruction(trading.program, trading.addresses(known), told)


def sale(
    venue: str = "pump_swap",
    *,
    tokens: int = TOKENS,
    least: int = 100_000_000,
    quote: str = WSOL,
    changes: Mapping[str, str] | None = None,
) -> Instruction:
    """Return the trade that sells the position."""
    return swap(
        SALES[venue],
        is_sale=True,
        spent=tokens,
        received=least,
        quote=quote,
        changes=changes,
    )


def purchase(
    venue: str = "pump_swap",
    *,
    units: int = 100_000_000,
    least: int = 1_000,
    quote: str = WSOL,
) -> Instruction:
    """Return the trade that buys the token."""
    return swap(BUYS[venue], is_sale=False, spent=units, received=least, quote=quote)


# The other programs


def transfer(lamports: int, to: str = THIEF, source: str = WALLET) -> Instruction:
    """Return a transfer of SOL."""
    return instruction(SYSTEM, [source, to], struct.pack("<IQ", 2, lamports))


def create_with_seed(
    account: str, *, lamports: int = RENT, owner: str = TOKEN, seed: str = "wsol"
) -> Instruction:
    """Return the creation of an account with a seed."""
    data = (
        struct.pack("<I", 3)
        + bytes(Pubkey.from_string(WALLET))
        + struct.pack("<Q", len(seed))
        + seed.encode()
        + struct.pack("<QQ", lamports, 165)
        + bytes(Pubkey.from_string(owner))
    )
    return instruction(SYSTEM, [WALLET, account], data)


def unit_limit(units: int = 200_000) -> Instruction:
    """Return a limit of compute units."""
    return instruction(COMPUTE_BUDGET, [], struct.pack("<BI", 2, units))


def unit_price(micro_lamports: int = 1_000_000) -> Instruction:
    """Return a price of compute units."""
    return instruction(COMPUTE_BUDGET, [], struct.pack("<BQ", 3, micro_lamports))


def create_ata(
    mint: str = WSOL,
    *,
    owner: str = WALLET,
    program: str = TOKEN,
    account: str | None = None,
    kind: bytes = b"\x01",
) -> Instruction:
    """Return the creation of an associated token account, if it does not exist."""
    account = account or ata(owner, mint, program)
    accounts = [WALLET, account, owner, mint, SYSTEM, program]
    return instruction(ASSOCIATED, accounts, kind)


def token(data: bytes, *accounts: str, program: str = TOKEN) -> Instruction:
    """Return an instruction of a token program."""
    return instruction(program, accounts, data)


def close(
    account: str | None = None, *, to: str = WALLET, owner: str = WALLET
) -> Instruction:
    """Return the close of a token account."""
    return token(b"\x09", account or ata(mint=WSOL), to, owner)


def initialise(account: str, *, mint: str = WSOL, owner: str = WALLET) -> Instruction:
    """Return the initialisation of a token account."""
    return token(b"\x12" + bytes(Pubkey.from_string(owner)), account, mint)


def transfer_checked(
    source: str, mint: str, to: str, amount: int, program: str = TOKEN
) -> Instruction:
    """Return a transfer of tokens."""
    data = struct.pack("<BQB", 12, amount, 6)
    return token(data, source, mint, to, WALLET, program=program)


# Transactions

TIP = 1_000_000


def exit_instructions(
    venue: str = "pump_swap", *, tokens: int = TOKENS, quote: str = WSOL
) -> list[Instruction]:
    """Return what a transaction that sells the position consists of."""
    return [
        unit_limit(),
        unit_price(),
        create_ata(quote),
        sale(venue, tokens=tokens, quote=quote),
        close(ata(mint=quote)),
        transfer(TIP, to=made_up("tip account")),
        transfer(10_000_000, to=made_up("fee account")),
    ]


def buy_instructions(venue: str = "pump_swap", *, units: int) -> list[Instruction]:
    """Return what a transaction that buys for SOL consists of."""
    return [
        unit_limit(),
        unit_price(),
        create_ata(WSOL),
        create_ata(MINT),
        transfer(units, to=ata(mint=WSOL)),
        token(b"\x11", ata(mint=WSOL)),
        purchase(venue, units=units),
        close(),
        transfer(TIP, to=made_up("tip account")),
    ]


BLOCKHASH = Hash(bytes([7]) * 32)


def build(
    instructions: Sequence[Instruction],
    *,
    payer: str = WALLET,
    tables: Sequence[AddressLookupTableAccount] = (),
) -> str:
    """Return an unsigned v0 transaction in base64."""
    message = MessageV0.try_compile(
        Pubkey.from_string(payer), list(instructions), list(tables), BLOCKHASH
    )
    return encode(message)


def build_legacy(instructions: Sequence[Instruction]) -> str:
    """Return an unsigned legacy transaction in base64."""
    payer = Pubkey.from_string(WALLET)
    return encode(Message.new_with_blockhash(list(instructions), payer, BLOCKHASH))


def encode(message: Message | MessageV0) -> str:
    """Return a message as an unsigned transaction in base64."""
    blanks = [Signature.default()] * message.header.num_required_signatures
    raw = bytes(VersionedTransaction.populate(message, blanks))
    return base64.b64encode(raw).decode()


def table(*addresses: str, name: str = "table") -> AddressLookupTableAccount:
    """Return a look-up table."""
    keys = [Pubkey.from_string(address) for address in addresses]
    return AddressLookupTableAccount(Pubkey.from_string(made_up(name)), keys)


def exit_signal(
    tx: str,
    *,
    wallet: str = WALLET,
    mint: str = MINT,
    position_tokens: int | None = TOKENS,
    sell_tokens: int | None = None,
) -> ExitSignalWithTx:
    """Return an exit signal with a transaction."""
    return ExitSignalWithTx(
        session_id=42,
        position_id=1,
        wallet_pubkey=wallet,
        mint=mint,
        token_account=ata(wallet, mint),
        token_program=TOKEN,
        position_tokens=position_tokens,
        profit_units=5,
        reason="target_profit",
        triggered_at_ms=1,
        unsigned_tx_b64=tx,
        sell_tokens=sell_tokens,
    )
