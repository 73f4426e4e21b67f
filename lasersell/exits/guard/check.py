"""
The check itself: every instruction, then the totals.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from solders.pubkey import Pubkey

from lasersell.exits.guard.inspection import Inspection
from lasersell.exits.guard.instructions import Instruction, read_instructions
from lasersell.exits.guard.intent import Intent
from lasersell.exits.guard.native import look_at_compute_budget, look_at_system
from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.refusal import refusal
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.guard.tokens import look_at_associated_token, look_at_token
from lasersell.exits.guard.trades import look_at_venue
from lasersell.exits.programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    COMPUTE_BUDGET_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
)
from lasersell.exits.transaction import UnsignedTransaction
from lasersell.session.positions import SOL_MINT

__all__ = ["CheckedTransaction", "check"]

TOKEN_ACCOUNT_RENT = 2_039_280
"""Lamports that the network wants in a token account; they come back at its close."""
MOST_UNITS = 1_400_000
"""Compute units that a transaction gets at most, however many it asks for."""

_BPS = 10_000
_MICRO = 1_000_000

_RULES: dict[str, Callable[[Inspection, Instruction], None]] = {
    SYSTEM_PROGRAM: look_at_system,
    COMPUTE_BUDGET_PROGRAM: look_at_compute_budget,
    TOKEN_PROGRAM: look_at_token,
    TOKEN_2022_PROGRAM: look_at_token,
    ASSOCIATED_TOKEN_PROGRAM: look_at_associated_token,
}


@attrs.frozen
class CheckedTransaction:
    """A transaction that does what it should, and may be signed."""

    transaction: UnsignedTransaction
    """The transaction."""
    intent: Intent
    """What it was checked against."""
    tip_lamports: int | None
    """The largest transfer of SOL to somebody else; None if nobody looked."""


def check(
    transaction: UnsignedTransaction,
    intent: Intent,
    policy: Policy | None = None,
    source: AccountSource | None = None,
) -> CheckedTransaction:
    """
    Check that a transaction does what it is supposed to, and nothing else.

    Whatever is not understood is refused. Pure, unless the transaction names look-up
    tables or accounts that cannot be derived, and there is a source to ask.

    Args:
        transaction: What is to be signed.
        intent: What it is supposed to do.
        policy: What it may do; None is ``Policy.default()``.
        source: Where tables and accounts are looked up; None refuses what needs it.

    Raises:
        GuardRefusedError: It does anything else; ``reason`` says what.
        TxError: The source failed.
    """
    policy = Policy.default() if policy is None else policy
    _check_signer(transaction, intent)
    if not policy.looks_inside:
        return CheckedTransaction(transaction, intent, None)
    _check_mint(intent, policy)
    inspection = Inspection(intent, policy, source)
    for instruction in read_instructions(transaction, policy, source):
        _look_at(inspection, instruction)
    _check_trade(inspection)
    _check_outflow(inspection)
    _check_priority_fee(inspection)
    return CheckedTransaction(transaction, intent, max(inspection.transfers, default=0))


def _check_signer(transaction: UnsignedTransaction, intent: Intent) -> None:
    if transaction.fee_payer != intent.wallet:
        raise refusal(
            "foreign_fee_payer",
            f"the transaction is one of {transaction.fee_payer}, not of {intent.wallet}",
        )
    if transaction.signature_count != 1:
        raise refusal(
            "extra_signer",
            f"it needs {transaction.signature_count} signatures, and only ours is expected",
        )


def _check_mint(intent: Intent, policy: Policy) -> None:
    try:
        Pubkey.from_string(intent.mint)
    except ValueError:
        raise refusal("other_mint", "the mint is no public key") from None
    if intent.mint in policy.quote_mints:
        raise refusal(
            "other_mint", f"{intent.mint} is what positions are paid in, not one"
        )


def _look_at(inspection: Inspection, instruction: Instruction) -> None:
    rule = _RULES.get(instruction.program)
    if rule is not None:
        rule(inspection, instruction)
        return
    venue = inspection.policy.venue(instruction.program)
    if venue is not None:
        look_at_venue(inspection, venue, instruction)
    elif instruction.program not in inspection.policy.trusted_programs:
        raise refusal(
            "unknown_program",
            f"the program {instruction.program} is on no list; see Policy.with_venues",
        )


def _check_trade(inspection: Inspection) -> None:
    intent, policy = inspection.intent, inspection.policy
    if inspection.quote is None:
        raise refusal("no_venue", "nothing is traded")
    if intent.limit is None:
        raise refusal(
            "amount_unknown",
            "nothing says how much may be sold; pass the position of the event",
        )
    limit = intent.limit
    if not intent.is_sale:
        limit += limit * policy.max_overspend_bps // _BPS
    if inspection.spent > limit:
        raise refusal(
            "amount_too_large", f"{inspection.spent} would be spent, and {limit} may be"
        )
    missing = inspection.created - inspection.initialised
    if missing:
        raise refusal(
            "created_account", f"{missing.pop()} is paid for and does not become ours"
        )


def _check_outflow(inspection: Inspection) -> None:
    policy, intent = inspection.policy, inspection.intent
    traded = inspection.received if intent.is_sale else inspection.spent
    share = traded * policy.max_fee_bps // _BPS
    is_in_sol = inspection.quote == SOL_MINT
    fee = max(policy.max_fee_lamports, share if is_in_sol else 0)
    leaving = sum(inspection.transfers) + inspection.quote_transfers.get(SOL_MINT, 0)
    if leaving > policy.max_tip_lamports + fee:
        raise refusal(
            "sol_outflow",
            f"{leaving} lamports would leave the wallet, and tip and fee may take "
            f"{policy.max_tip_lamports + fee}; see max_tip_lamports and max_fee_lamports",
        )
    for mint, amount in inspection.quote_transfers.items():
        allowed = share if mint == inspection.quote else 0
        if mint != SOL_MINT and amount > allowed:
            raise refusal(
                "quote_outflow",
                f"{amount} units of {mint} would leave the wallet, and a fee may take "
                f"{allowed}; see max_fee_bps",
            )
    _check_wrapped(inspection, is_in_sol=is_in_sol)


def _check_wrapped(inspection: Inspection, *, is_in_sol: bool) -> None:
    # SOL in our own token accounts is still ours, but only a buy needs it there.
    allowed = TOKEN_ACCOUNT_RENT * len(inspection.created)
    if is_in_sol and not inspection.intent.is_sale:
        allowed += inspection.spent
    if inspection.wrapped_lamports > allowed:
        raise refusal(
            "sol_outflow",
            f"{inspection.wrapped_lamports} lamports would be put into token accounts, "
            f"and {allowed} are needed there",
        )


def _check_priority_fee(inspection: Inspection) -> None:
    asked = inspection.unit_limit
    units = MOST_UNITS if asked is None else min(asked, MOST_UNITS)
    fee = -(-inspection.unit_price * units // _MICRO)
    if fee > inspection.policy.max_priority_fee_lamports:
        raise refusal(
            "priority_fee",
            f"the priority fee would be {fee} lamports, and "
            f"{inspection.policy.max_priority_fee_lamports} is the most; "
            "see max_priority_fee_lamports",
        )
