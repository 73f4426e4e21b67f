"""Address look-up tables with the accounts that all trades of a venue have in common."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.pubkey import Pubkey

from lasersell.sim.solana import SYSTEM_PROGRAM, TOKEN_PROGRAM, made_up_key
from lasersell.sim.trading import BUYS, SALES
from lasersell.sim.venues import QUOTE_MINTS

__all__ = ["TABLES", "account_data", "table_of"]

_KIND = 1
_NEVER = 2**64 - 1
_META = struct.Struct("<IQQBB32sH")


def _table(market_type: str) -> AddressLookupTableAccount:
    addresses = [SYSTEM_PROGRAM, TOKEN_PROGRAM, *QUOTE_MINTS.values()]
    for trading in (SALES[market_type], BUYS[market_type]):
        addresses += [made_up_key(trading.program, name) for name in trading.accounts]
    return AddressLookupTableAccount(
        Pubkey.from_string(made_up_key("table", market_type)),
        [Pubkey.from_string(address) for address in dict.fromkeys(addresses)],
    )


_BY_MARKET_TYPE = {market_type: _table(market_type) for market_type in SALES}

TABLES: Mapping[str, AddressLookupTableAccount] = {
    str(table.key): table for table in _BY_MARKET_TYPE.values()
}
"""All tables there are, by address."""


def table_of(market_type: str) -> AddressLookupTableAccount:
    """Return the table that trades on a kind of market may use."""
    return _BY_MARKET_TYPE[market_type]


def account_data(table: AddressLookupTableAccount) -> bytes:
    """Return a table as the chain keeps it."""
    meta = _META.pack(_KIND, _NEVER, 0, 0, 0, bytes(32), 0)
    return meta + b"".join(bytes(address) for address in table.addresses)
