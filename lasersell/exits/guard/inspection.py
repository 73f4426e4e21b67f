"""
One look at one transaction: what has been seen so far.
"""

from __future__ import annotations

import functools

from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from lasersell.exits.guard.intent import Intent
from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.programs import TOKEN_PROGRAM, TOKEN_PROGRAMS
from lasersell.session.positions import SOL_MINT

__all__ = ["Inspection", "associated_account"]


@functools.lru_cache(maxsize=4096)
def associated_account(wallet: str, mint: str, token_program: str) -> str:
    """Return the account in which a wallet holds a token, as the chain derives it."""
    return str(
        get_associated_token_address(
            Pubkey.from_string(wallet),
            Pubkey.from_string(mint),
            Pubkey.from_string(token_program),
        )
    )


class Inspection:
    """
    What has been seen of a transaction; the rules of the programs add to it.

    Used by one thread, for one transaction.
    """

    def __init__(
        self, intent: Intent, policy: Policy, source: AccountSource | None
    ) -> None:
        self.intent = intent
        self.policy = policy
        self._source = source
        self.quote_mints = (
            policy.quote_mints if intent.quote_mints is None else intent.quote_mints
        )
        """What the token may be traded for."""
        self.allowed_mints = frozenset((intent.mint, SOL_MINT, *self.quote_mints))
        """The tokens of which accounts may be used."""
        self._own = _derived_accounts(intent, {SOL_MINT, *policy.quote_mints})
        self.transfers: list[int] = []
        """Lamports that go to others."""
        self.wrapped_lamports = 0
        """Lamports that go into token accounts of ours."""
        self.created: set[str] = set()
        """Accounts that are paid for."""
        self.initialised: set[str] = set()
        """Accounts that became ours."""
        self.quote_transfers: dict[str, int] = {}
        """Quote assets that go to others, in atomic units by mint."""
        self.unit_limit: int | None = None
        """Compute units asked for."""
        self.unit_price = 0
        """Millionths of a lamport per compute unit."""
        self.quote: str | None = None
        """What the token is traded for, once a trade was seen."""
        self.spent = 0
        """Most that the trades spend."""
        self.received = 0
        """Least that the trades bring."""

    def own_mint(self, account: str) -> str | None:
        """
        Return the token that an account of ours holds; None if it is not ours.

        Asks the source about accounts that cannot be derived.

        Raises:
            TxError: The source failed.
        """
        mint = self._own.get(account)
        if mint is None and self._source is not None:
            found = self._source.token_account(account)
            if found is not None and found.owner == self.intent.wallet:
                mint = self._own[account] = found.mint
        return mint

    def take_over(self, account: str, mint: str) -> None:
        """Note that an account becomes ours in this transaction."""
        self._own[account] = mint
        self.initialised.add(account)


def _derived_accounts(intent: Intent, quote_mints: set[str]) -> dict[str, str]:
    own = {
        associated_account(intent.wallet, intent.mint, program): intent.mint
        for program in TOKEN_PROGRAMS
    }
    # Both quotes are tokens of the older program.
    for mint in quote_mints:
        own[associated_account(intent.wallet, mint, TOKEN_PROGRAM)] = mint
    return own
