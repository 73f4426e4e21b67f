"""
What the guard may ask of the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

__all__ = ["AccountSource", "TokenAccount"]


@attrs.frozen
class TokenAccount:
    """What counts of a token account."""

    mint: str
    """The token it holds; base58."""
    owner: str
    """Who may spend from it; base58."""


class AccountSource(Protocol):
    """
    Where accounts come from that a transaction does not name in full.

    ``lasersell.exits.accounts.AccountReader`` asks an RPC node. What is returned is
    believed, so ask a node of your own choice, never one the transaction's author names.
    """

    def lookup_table(self, address: str, least: int) -> Sequence[str]:
        """
        Return the addresses in a look-up table.

        Args:
            address: The table; base58.
            least: How many addresses are needed; fewer known ones must be asked again.

        Raises:
            TxError: It cannot be had now, or is no table.
        """
        ...

    def token_account(self, address: str) -> TokenAccount | None:
        """
        Return a token account; None if there is none at the address.

        Raises:
            TxError: It cannot be had now.
        """
        ...
