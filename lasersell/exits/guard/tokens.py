"""
The rules for the token programs, the older one and Token-2022, and for their accounts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from solders.pubkey import Pubkey

from lasersell.exits.guard.inspection import Inspection, associated_account
from lasersell.exits.guard.instructions import Instruction
from lasersell.exits.guard.refusal import Reason, refusal
from lasersell.exits.programs import TOKEN_PROGRAMS
from lasersell.session.positions import SOL_MINT

__all__ = ["look_at_associated_token", "look_at_token"]

_AMOUNT = struct.Struct("<Q")
_WITH_OWNER = 33
_CREATE_KINDS = (b"", b"\x00", b"\x01")

_REFUSED: dict[int, tuple[Reason, str]] = {
    4: ("delegate", "somebody else could spend from an account"),
    6: ("authority_change", "an account would get another owner"),
    8: ("burn", "tokens would be destroyed"),
    13: ("delegate", "somebody else could spend from an account"),
    15: ("burn", "tokens would be destroyed"),
    26: ("token_transfer", "tokens would be transferred with a fee"),
}


def look_at_token(inspection: Inspection, instruction: Instruction) -> None:
    """
    Take accounts that become ours, their close to us, wrapped SOL and fees in the quote.

    Raises:
        GuardRefusedError: It is anything else.
    """
    data = instruction.data
    tag = data[0] if data else -1
    rule = _RULES.get((tag, len(data)))
    if rule is not None and len(instruction.accounts) >= rule[0]:
        rule[1](inspection, instruction)
        return
    unknown: tuple[Reason, str] = (
        "unknown_instruction",
        f"token instruction {tag} is not understood",
    )
    raise refusal(*_REFUSED.get(tag, unknown))


def _initialise(inspection: Inspection, instruction: Instruction) -> None:
    account, mint = instruction.accounts[:2]
    # The first form names the owner among the accounts, the later two in the data.
    if len(instruction.data) == _WITH_OWNER:
        owner = str(Pubkey.from_bytes(instruction.data[1:]))
    else:
        owner = instruction.accounts[2]
    if account not in inspection.created:
        raise refusal(
            "created_account", f"{account} was not created in this transaction"
        )
    _take_over(inspection, account, mint, owner)


def _take_over(inspection: Inspection, account: str, mint: str, owner: str) -> None:
    if owner != inspection.intent.wallet:
        raise refusal("foreign_account", f"an account for {owner} would be paid for")
    if mint not in inspection.allowed_mints:
        raise refusal("other_mint", f"an account for the token {mint} would be created")
    inspection.take_over(account, mint)


def _immutable_owner(inspection: Inspection, instruction: Instruction) -> None:
    if instruction.accounts[0] not in inspection.created:
        raise refusal(
            "created_account", "an account is prepared that was not created here"
        )


def _sync_native(inspection: Inspection, instruction: Instruction) -> None:
    if inspection.own_mint(instruction.accounts[0]) != SOL_MINT:
        raise refusal(
            "foreign_account", "an account is synchronised that holds no SOL of ours"
        )


def _close(inspection: Inspection, instruction: Instruction) -> None:
    account, receiver, owner = instruction.accounts[:3]
    if receiver != inspection.intent.wallet:
        raise refusal(
            "foreign_close", f"what {account} holds in SOL would go to {receiver}"
        )
    if owner != inspection.intent.wallet or inspection.own_mint(account) is None:
        raise refusal(
            "foreign_account", f"{account} would be closed, which is not ours"
        )


def _transfer(inspection: Inspection, instruction: Instruction) -> None:
    source, receiver = instruction.accounts[:2]
    _transfer_of(inspection, instruction, source, receiver)


def _transfer_checked(inspection: Inspection, instruction: Instruction) -> None:
    source, mint, receiver = instruction.accounts[:3]
    if inspection.own_mint(source) != mint:
        raise refusal("foreign_account", f"{source} does not hold {mint} of ours")
    _transfer_of(inspection, instruction, source, receiver)


def _transfer_of(
    inspection: Inspection, instruction: Instruction, source: str, receiver: str
) -> None:
    mint = inspection.own_mint(source)
    if mint is None:
        raise refusal("foreign_account", f"tokens would be taken from {source}")
    if mint not in inspection.quote_mints:
        # Not even within the amount to sell: nothing would come back for it.
        raise refusal("token_transfer", f"tokens would be given to {receiver} untraded")
    amount = _AMOUNT.unpack_from(instruction.data, 1)[0]
    if inspection.own_mint(receiver) != mint:
        transfers = inspection.quote_transfers
        transfers[mint] = transfers.get(mint, 0) + amount


Rule = Callable[[Inspection, Instruction], None]

# By tag and length: the least number of accounts, and the rule.
_RULES: dict[tuple[int, int], tuple[int, Rule]] = {
    (1, 1): (3, _initialise),
    (3, 9): (3, _transfer),
    (9, 1): (3, _close),
    (12, 10): (4, _transfer_checked),
    (16, _WITH_OWNER): (2, _initialise),
    (17, 1): (1, _sync_native),
    (18, _WITH_OWNER): (2, _initialise),
    (22, 1): (1, _immutable_owner),
}


def look_at_associated_token(inspection: Inspection, instruction: Instruction) -> None:
    """
    Take the creation of our own account of the token or of the quote.

    Raises:
        GuardRefusedError: It is anything else.
    """
    if instruction.data not in _CREATE_KINDS or len(instruction.accounts) < 6:
        raise refusal(
            "unknown_instruction", "an associated account is not just created"
        )
    payer, account, owner, mint, _, token_program = instruction.accounts[:6]
    if payer != inspection.intent.wallet:
        raise refusal("foreign_account", f"SOL would be taken from {payer}")
    if token_program not in TOKEN_PROGRAMS:
        raise refusal("unknown_program", f"{token_program} is no token program")
    if owner == inspection.intent.wallet and account != associated_account(
        owner, mint, token_program
    ):
        raise refusal("foreign_account", f"{account} is not our account for {mint}")
    _take_over(inspection, account, mint, owner)
