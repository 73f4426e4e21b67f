"""
Look-up tables and token accounts, asked of an RPC node.
"""

from __future__ import annotations

import base64
import ssl
from typing import Any

from solders.address_lookup_table_account import AddressLookupTable
from solders.pubkey import Pubkey

from lasersell.errors import TxError
from lasersell.exits.guard.source import TokenAccount
from lasersell.exits.programs import LOOKUP_TABLE_PROGRAM, TOKEN_PROGRAMS
from lasersell.exits.rpc import RpcLink
from lasersell.exits.targets import SendTarget
from lasersell.stream.options import check_seconds

__all__ = ["AccountReader"]

# A token account: mint, owner, amount, delegate, its state, and some more. One with
# extensions goes on with what kind of account it is, since a mint can be as long.
_MINT_END = 32
_OWNER_END = 64
_STATE_AT = 108
_BARE_BYTES = 165
_TOKEN_ACCOUNT_KIND = 2


def _is_token_account(data: bytes) -> bool:
    if len(data) < _BARE_BYTES or data[_STATE_AT] == 0:
        return False
    return len(data) == _BARE_BYTES or data[_BARE_BYTES] == _TOKEN_ACCOUNT_KIND


class AccountReader:
    """
    What the guard asks of the chain, by an RPC node that is believed.

    Tables are remembered: what is in one never changes, it only grows. Any thread may
    use it. Use it in a ``with`` block.

    Args:
        rpc: The node; None takes it from ``LASERSELL_RPC_URL``, else a public one.
        timeout: Seconds that one look-up may take.
        ssl_context: A verifying context of your own.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(
        self,
        rpc: SendTarget | str | None = None,
        *,
        timeout: float = 2.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout = check_seconds("timeout", timeout, 0.001)
        target = rpc if isinstance(rpc, SendTarget) else SendTarget.rpc(rpc)
        self._link = RpcLink(
            target, connect_timeout=self._timeout, ssl_context=ssl_context
        )
        self._tables: dict[str, tuple[str, ...]] = {}

    def lookup_table(self, address: str, least: int) -> tuple[str, ...]:
        """
        Return the addresses in a look-up table.

        Args:
            address: The table; base58.
            least: How many are needed; a table known to be shorter is asked for again.

        Raises:
            TxError: It cannot be had now, or is no table.
        """
        known = self._tables.get(address)
        if known is None or len(known) < least:
            known = self._tables[address] = self._read_table(address)
        return known

    def _read_table(self, address: str) -> tuple[str, ...]:
        account = self._account(address)
        if account is None or account[0] != LOOKUP_TABLE_PROGRAM:
            raise TxError(
                f"{address} is no address look-up table",
                stage="guard",
                target=self._link.label,
            )
        try:
            table = AddressLookupTable.deserialize(account[1])
        except ValueError as error:
            raise self._not_understood(error) from error
        return tuple(str(key) for key in table.addresses)

    def token_account(self, address: str) -> TokenAccount | None:
        """
        Return a token account; None if there is none at the address.

        Raises:
            TxError: It cannot be had now.
        """
        account = self._account(address)
        if account is None or account[0] not in TOKEN_PROGRAMS:
            return None
        data = account[1]
        if not _is_token_account(data):
            return None
        mint = Pubkey.from_bytes(data[:_MINT_END])
        owner = Pubkey.from_bytes(data[_MINT_END:_OWNER_END])
        return TokenAccount(str(mint), str(owner))

    def _account(self, address: str) -> tuple[str, bytes] | None:
        """Return the program that owns an account, and its data."""
        answer = self._link.call(
            "getAccountInfo",
            [address, {"encoding": "base64", "commitment": "confirmed"}],
            stage="guard",
            timeout=self._timeout,
        )
        try:
            value: Any = answer["value"]
            if value is None:
                return None
            return str(value["owner"]), base64.b64decode(value["data"][0])
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise self._not_understood(error) from error

    def _not_understood(self, error: Exception) -> TxError:
        return TxError(
            f"the account that {self._link.label} returned is not understood: {error!r}",
            stage="guard",
            target=self._link.label,
        )

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def __enter__(self) -> AccountReader:
        """Return the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()
