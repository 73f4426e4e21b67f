"""
Transactions as the service builds them, and the parts of ones it should not build.

The accounts of each venue are listed by name, in the order of the venue's published
interface, so that a wrong position in the package cannot hide behind the same mistake
here. What has no role in a test gets an address made up from its name.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence

import attrs
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from lasersell.exits.keys import WalletKey
from lasersell.protocol.server import ExitSignalWithTx

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
    metas = [
        AccountMeta(Pubkey.from_string(account), account == signer, True)
        for account in accounts
    ]
    return Instruction(Pubkey.from_string(program), data, metas)


# Venues

_PUMP_SWAP_1 = (
    "pool user global_config base_mint quote_mint user_base user_quote pool_base "
    "pool_quote fee_recipient fee_recipient_account base_program quote_program system "
    "associated event_authority program creator_vault_account creator_vault"
)
_PUMP_SWAP_2 = (
    "pool user global_config base_mint quote_mint user_base user_quote pool_base "
    "pool_quote base_program quote_program system volume fee_config buyback "
    "event_authority program"
)
_PUMP_SELL_1 = (
    "global fee_recipient base_mint curve curve_account user_base user system "
    "creator_vault base_program event_authority program fee_config fee_program"
)
_PUMP_BUY_1 = (
    "global fee_recipient base_mint curve curve_account user_base user system "
    "base_program creator_vault event_authority program global_volume volume"
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
_LAUNCHPAD = (
    "user authority global_config platform pool user_base user_quote base_vault "
    "quote_vault base_mint quote_mint base_program quote_program event_authority program"
)
_CPMM = (
    "user authority config pool user_in user_out in_vault out_vault in_program "
    "out_program in_mint out_mint observation"
)
_DBC = (
    "pool_authority config pool user_in user_out base_vault quote_vault base_mint "
    "quote_mint user base_program quote_program referral event_authority program"
)
_DAMM = (
    "pool_authority pool user_in user_out base_vault quote_vault base_mint quote_mint "
    "user base_program quote_program referral event_authority program"
)

PUMP = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
PUMP_AMM = "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA"
DBC = "dbcij3LWUppWqq96dh6gJWwBifmcGfLSB5D4DuSMaqN"
DAMM = "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG"
LAUNCHPAD = "LanMV9sAd7wArD4vJFi2qDdfnVhFxYSUg6eADduJ3uj"
CPMM = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"


def anchor(name: str) -> bytes:
    """Return the first eight bytes of an Anchor instruction."""
    return hashlib.sha256(f"global:{name}".encode()).digest()[:8]


@attrs.frozen
class Trading:
    """How one instruction of one venue trades."""

    program: str
    name: str
    accounts: str
    received_first: bool = False
    tail: bytes = b""
    is_native: bool = False


SALES = {
    "pump_fun": Trading(PUMP, "sell", _PUMP_SELL_1, is_native=True),
    "pump_fun_v2": Trading(PUMP, "sell_v2", _PUMP_SELL_2),
    "pump_fun_v3": Trading(PUMP, "sell_v3", _PUMP_3),
    "pump_swap": Trading(PUMP_AMM, "sell", _PUMP_SWAP_1),
    "pump_swap_v2": Trading(PUMP_AMM, "sell_v2", _PUMP_SWAP_2),
    "meteora_dbc": Trading(DBC, "swap", _DBC),
    "meteora_dbc_2": Trading(DBC, "swap2", _DBC, tail=b"\x00"),
    "meteora_dbc_2_partial": Trading(DBC, "swap2", _DBC, tail=b"\x01"),
    "meteora_dbc_2_out": Trading(DBC, "swap2", _DBC, received_first=True, tail=b"\x02"),
    "meteora_damm_v2": Trading(DAMM, "swap", _DAMM),
    "meteora_damm_v2_2": Trading(DAMM, "swap2", _DAMM, tail=b"\x00"),
    "raydium_launchpad": Trading(LAUNCHPAD, "sell_exact_in", _LAUNCHPAD, tail=bytes(8)),
    "raydium_launchpad_out": Trading(
        LAUNCHPAD, "sell_exact_out", _LAUNCHPAD, received_first=True, tail=bytes(8)
    ),
    "raydium_cpmm": Trading(CPMM, "swap_base_input", _CPMM),
    # Its arguments are the most to spend, and then the amount to get.
    "raydium_cpmm_out": Trading(CPMM, "swap_base_output", _CPMM),
}
"""Every documented way to sell."""

BUYS = {
    "pump_fun": Trading(PUMP, "buy", _PUMP_BUY_1, received_first=True, is_native=True),
    "pump_fun_exact": Trading(PUMP, "buy_exact_sol_in", _PUMP_BUY_1, is_native=True),
    "pump_fun_v3_exact": Trading(PUMP, "buy_exact_quote_in_v3", _PUMP_3, tail=b"\x01"),
    "pump_swap": Trading(
        PUMP_AMM, "buy", _PUMP_SWAP_1, received_first=True, tail=b"\x01"
    ),
    "pump_swap_exact": Trading(PUMP_AMM, "buy_exact_quote_in", _PUMP_SWAP_1),
    "meteora_dbc": Trading(DBC, "swap", _DBC),
    "meteora_damm_v2": Trading(DAMM, "swap", _DAMM),
    "raydium_launchpad": Trading(LAUNCHPAD, "buy_exact_in", _LAUNCHPAD, tail=bytes(8)),
    "raydium_launchpad_out": Trading(
        LAUNCHPAD, "buy_exact_out", _LAUNCHPAD, received_first=True, tail=bytes(8)
    ),
    "raydium_cpmm": Trading(CPMM, "swap_base_input", _CPMM),
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
    known = {
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
        "program": trading.program,
        "system": SYSTEM,
        "associated": ASSOCIATED,
        **(changes or {}),
    }
    names = trading.accounts.split()
    accounts = [
        known.get(name) or made_up(f"{trading.program} {name}") for name in names
    ]
    amounts = (received, spent) if trading.received_first else (spent, received)
    told = anchor(trading.name) + struct.pack("<QQ", *amounts) + trading.tail
    return instruction(trading.program, accounts, told if data is None else data)


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
