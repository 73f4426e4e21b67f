"""
From an exit signal to a transaction that was checked, signed, submitted and confirmed.

Needs the extra ``tx``; without it the import raises ``MissingExtraError``.
"""

from __future__ import annotations

from lasersell.errors import MissingExtraError

# One check for the whole package: its own modules import it without a word.
try:
    import solders  # noqa: F401  only to see whether it is there
except ImportError as error:
    raise MissingExtraError("lasersell.exits", "tx") from error

from lasersell.exits.accounts import AccountReader
from lasersell.exits.api import ExitApiClient
from lasersell.exits.confirm import Confirmation
from lasersell.exits.connect import connect_with_wallets
from lasersell.exits.guard.check import CheckedTransaction, check
from lasersell.exits.guard.intent import Intent
from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.source import AccountSource, TokenAccount
from lasersell.exits.keys import WalletKey
from lasersell.exits.ownership import WalletProof, prove_ownership
from lasersell.exits.programs import SwapLayout, Venue
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.exits.responses import (
    Account,
    AccountLimits,
    BuildTxResponse,
    History,
    HistoryTrade,
)
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submission, Submitter
from lasersell.exits.targets import SendTarget
from lasersell.exits.transaction import (
    SignedTransaction,
    UnsignedTransaction,
    decode_transaction,
)

__all__ = [
    "Account",
    "AccountLimits",
    "AccountReader",
    "AccountSource",
    "BuildBuyTxRequest",
    "BuildSellTxRequest",
    "BuildTxResponse",
    "CheckedTransaction",
    "Confirmation",
    "ExitApiClient",
    "History",
    "HistoryTrade",
    "Intent",
    "Policy",
    "SendTarget",
    "SignedTransaction",
    "Signer",
    "Submission",
    "Submitter",
    "SwapLayout",
    "TokenAccount",
    "UnsignedTransaction",
    "Venue",
    "WalletKey",
    "WalletProof",
    "check",
    "connect_with_wallets",
    "decode_transaction",
    "prove_ownership",
]
