"""
The one list of the Solana programs that an exit may call, and how to read a swap.

A venue's swap instructions are described by data: which account is the user, which
pays, which receives, which mints the market has, and in which order the amounts come.
The position of an account and the name of an instruction (whose first eight bytes are
hashed from it) are facts of the programs' published interfaces, named at each venue.
To know another venue, describe it and give it to ``Policy.with_venues``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import attrs

__all__ = [
    "ASSOCIATED_TOKEN_PROGRAM",
    "COMPUTE_BUDGET_PROGRAM",
    "LOOKUP_TABLE_PROGRAM",
    "SYSTEM_PROGRAM",
    "TOKEN_2022_PROGRAM",
    "TOKEN_PROGRAM",
    "TOKEN_PROGRAMS",
    "VENUES",
    "Swap",
    "SwapLayout",
    "Venue",
    "discriminator",
]

# Source of these six: the documents of the Solana Program Library and the Solana
# documentation, "Core programs".
SYSTEM_PROGRAM = "11111111111111111111111111111111"
COMPUTE_BUDGET_PROGRAM = "ComputeBudget111111111111111111111111111111"
LOOKUP_TABLE_PROGRAM = "AddressLookupTab1e1111111111111111111111111"
TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - an address
TOKEN_2022_PROGRAM = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"  # noqa: S105
ASSOCIATED_TOKEN_PROGRAM = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"  # noqa: S105

TOKEN_PROGRAMS = (TOKEN_PROGRAM, TOKEN_2022_PROGRAM)

Amounts = Literal["spent_first", "received_first", "by_mode"]

_TWO_AMOUNTS = struct.Struct("<QQ")
_DATA_START = 8
_EXACT_OUT_MODE = 2


class Swap(NamedTuple):
    """What a swap instruction does at most and at least."""

    venue: str
    """Name of the venue."""
    user: str
    """Who trades; base58."""
    spent_from: str | None
    """Account that pays; None is the user's own SOL."""
    received_in: str | None
    """Account that receives; None is the user's own SOL."""
    mints: tuple[str, ...]
    """The mints of the market; only one where the other side is SOL itself."""
    max_spent: int
    """Most that is spent, in atomic units."""
    min_received: int
    """Least that is received, in atomic units; less fails the transaction."""


@attrs.frozen(kw_only=True)
class SwapLayout:
    """Where a swap instruction has what; positions count from 0."""

    instruction: str
    """Its name, as in the program's interface, such as ``sell``."""
    user: int
    """Position of the user, who signs."""
    spent_from: int | None
    """Position of the account that pays; None is the user's own SOL."""
    received_in: int | None
    """Position of the account that receives; None is the user's own SOL."""
    mints: tuple[int, ...]
    """Positions of the mints of the market."""
    amounts: Amounts
    """The order of the two amounts: most spent, then least received; the other way
    round; or either, as a third number says."""
    tails: tuple[int, ...] = (0,)
    """How many bytes may follow, which decide nothing that is checked here."""

    def read(self, venue: str, data: bytes, accounts: Sequence[str]) -> Swap | None:
        """Return the swap; None if it is not exactly of this layout."""
        amounts = self._read_amounts(data[_DATA_START:])
        positions = (self.user, self.spent_from, self.received_in, *self.mints)
        last = max(position for position in positions if position is not None)
        if amounts is None or last >= len(accounts):
            return None
        max_spent, min_received = amounts
        return Swap(
            venue=venue,
            user=accounts[self.user],
            spent_from=None if self.spent_from is None else accounts[self.spent_from],
            received_in=(
                None if self.received_in is None else accounts[self.received_in]
            ),
            mints=tuple(accounts[position] for position in self.mints),
            max_spent=max_spent,
            min_received=min_received,
        )

    def _read_amounts(self, arguments: bytes) -> tuple[int, int] | None:
        tail = len(arguments) - _TWO_AMOUNTS.size
        if tail not in self.tails:
            return None
        first, second = _TWO_AMOUNTS.unpack_from(arguments)
        received_first = self.amounts == "received_first"
        if self.amounts == "by_mode":
            mode = arguments[-1]
            if mode > _EXACT_OUT_MODE:
                return None
            received_first = mode == _EXACT_OUT_MODE
        return (second, first) if received_first else (first, second)


def discriminator(instruction: str) -> bytes:
    """Return the eight bytes that name an instruction of an Anchor program."""
    return hashlib.sha256(f"global:{instruction}".encode()).digest()[:_DATA_START]


def _by_discriminator(layouts: Sequence[SwapLayout]) -> dict[bytes, SwapLayout]:
    return {discriminator(layout.instruction): layout for layout in layouts}


@attrs.frozen
class Venue:
    """A program that swaps tokens."""

    name: str
    """Its name, as the wire's market type where there is one."""
    program: str
    """Its address; base58."""
    layouts: Mapping[bytes, SwapLayout] = attrs.field(
        converter=_by_discriminator, repr=False, hash=False
    )
    """Its swap instructions, by their first eight bytes."""

    def read_swap(self, data: bytes, accounts: Sequence[str]) -> Swap | None:
        """Return what an instruction of this program swaps; None if it is no known swap."""
        layout = self.layouts.get(data[:_DATA_START])
        return None if layout is None else layout.read(self.name, data, accounts)


_OPTION_BOOL = (0, 1)
"""A last argument that may be left out."""


def _base_quote(
    *,
    user: int,
    base: tuple[int, int],
    quote: tuple[int | None, int | None],
    sells: Sequence[str],
    buys: Sequence[str],
    exact_buys: Sequence[str],
    exact_sells_out: Sequence[str] = (),
    tails: tuple[int, ...] = (0,),
    sell_tails: tuple[int, ...] = (0,),
) -> list[SwapLayout]:
    """
    Return the layouts of a venue whose instructions say which way they trade.

    Args:
        user: Position of the user.
        base: Positions of the base token's account and mint.
        quote: The same of the quote; None and None where it is the user's own SOL.
        sells: Instructions that spend an exact amount of the base token.
        buys: Instructions that buy an exact amount of it.
        exact_buys: Instructions that spend an exact amount of the quote.
        exact_sells_out: Instructions that sell for an exact amount of the quote.
        tails: How many bytes may follow the amounts of a buy.
        sell_tails: How many may follow those of a sale.
    """
    base_account, base_mint = base
    quote_account, quote_mint = quote
    mints = (base_mint,) if quote_mint is None else (base_mint, quote_mint)

    def layout(name: str, amounts: Amounts, *, is_sale: bool) -> SwapLayout:
        return SwapLayout(
            instruction=name,
            user=user,
            spent_from=base_account if is_sale else quote_account,
            received_in=quote_account if is_sale else base_account,
            mints=mints,
            amounts=amounts,
            tails=sell_tails if is_sale else tails,
        )

    return [
        *(layout(name, "spent_first", is_sale=True) for name in sells),
        *(layout(name, "received_first", is_sale=True) for name in exact_sells_out),
        *(layout(name, "received_first", is_sale=False) for name in buys),
        *(layout(name, "spent_first", is_sale=False) for name in exact_buys),
    ]


def _input_output(
    names: Sequence[tuple[str, Amounts]],
    *,
    user: int,
    accounts: tuple[int, int],
    mints: tuple[int, int],
) -> list[SwapLayout]:
    """Return the layouts of a venue whose instructions name an input and an output."""
    return [
        SwapLayout(
            instruction=name,
            user=user,
            spent_from=accounts[0],
            received_in=accounts[1],
            mints=mints,
            amounts=amounts,
            tails=(1,) if amounts == "by_mode" else (0,),
        )
        for name, amounts in names
    ]


# Source: the interface and the instruction documents of "pump-public-docs", where
# buying and selling exist in three generations; the two later ones name a quote mint.
PUMP_FUN = Venue(
    "pump_fun",
    "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P",
    [
        *_base_quote(
            user=6,
            base=(5, 2),
            quote=(None, None),
            sells=["sell"],
            buys=["buy"],
            exact_buys=["buy_exact_sol_in"],
            tails=_OPTION_BOOL,
        ),
        *_base_quote(
            user=13,
            base=(14, 1),
            quote=(15, 2),
            sells=["sell_v2"],
            buys=["buy_v2"],
            exact_buys=["buy_exact_quote_in_v2"],
        ),
        *_base_quote(
            user=8,
            base=(9, 1),
            quote=(10, 2),
            sells=["sell_v3"],
            buys=["buy_v3"],
            exact_buys=["buy_exact_quote_in_v3"],
            tails=_OPTION_BOOL,
        ),
    ],
)

# Source: the interface and "PumpSwap Trades V2" of "pump-public-docs"; both
# generations have the accounts that count in the same places.
PUMP_SWAP = Venue(
    "pump_swap",
    "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA",
    _base_quote(
        user=1,
        base=(5, 3),
        quote=(6, 4),
        sells=["sell", "sell_v2"],
        buys=["buy", "buy_v2"],
        exact_buys=["buy_exact_quote_in", "buy_exact_quote_in_v2"],
        tails=_OPTION_BOOL,
    ),
)

# Source: the swap context of the program in "MeteoraAg/dynamic-bonding-curve".
METEORA_DBC = Venue(
    "meteora_dbc",
    "dbcij3LWUppWqq96dh6gJWwBifmcGfLSB5D4DuSMaqN",
    _input_output(
        [("swap", "spent_first"), ("swap2", "by_mode")],
        user=9,
        accounts=(3, 4),
        mints=(7, 8),
    ),
)

# Source: the swap context of the program in "MeteoraAg/damm-v2".
METEORA_DAMM_V2 = Venue(
    "meteora_damm_v2",
    "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG",
    _input_output(
        [("swap", "spent_first"), ("swap2", "by_mode")],
        user=8,
        accounts=(2, 3),
        mints=(6, 7),
    ),
)

# Source: the published interface of Raydium LaunchLab. What follows the amounts is
# the rate of a referrer's share.
RAYDIUM_LAUNCHPAD = Venue(
    "raydium_launchpad",
    "LanMV9sAd7wArD4vJFi2qDdfnVhFxYSUg6eADduJ3uj",
    _base_quote(
        user=0,
        base=(5, 9),
        quote=(6, 10),
        sells=["sell_exact_in"],
        exact_sells_out=["sell_exact_out"],
        buys=["buy_exact_out"],
        exact_buys=["buy_exact_in"],
        tails=(8,),
        sell_tails=(8,),
    ),
)

# Source: the interface of the constant product program in "raydium-io/raydium-idl".
RAYDIUM_CPMM = Venue(
    "raydium_cpmm",
    "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C",
    _input_output(
        [("swap_base_input", "spent_first"), ("swap_base_output", "spent_first")],
        user=0,
        accounts=(4, 5),
        mints=(10, 11),
    ),
)

VENUES = (
    PUMP_FUN,
    PUMP_SWAP,
    METEORA_DBC,
    METEORA_DAMM_V2,
    RAYDIUM_LAUNCHPAD,
    RAYDIUM_CPMM,
)
"""The venues that the service trades on, by its documentation."""
