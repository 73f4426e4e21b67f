"""
The rules for the System and the Compute Budget program.
"""

from __future__ import annotations

import struct

from solders.pubkey import Pubkey

from lasersell.exits.guard.inspection import Inspection
from lasersell.exits.guard.instructions import Instruction
from lasersell.exits.guard.refusal import Reason, refusal
from lasersell.exits.programs import TOKEN_PROGRAMS
from lasersell.session.positions import SOL_MINT

__all__ = ["look_at_compute_budget", "look_at_system"]

_TAG = struct.Struct("<I")
_TRANSFER = struct.Struct("<IQ")
_SEED_LENGTH = struct.Struct("<Q")
_FUNDING = struct.Struct("<QQ")
_KEY_BYTES = 32

_TRANSFER_TAG = 2
_CREATE_WITH_SEED_TAG = 3
_REFUSED: dict[int, tuple[Reason, str]] = {
    1: ("authority_change", "the wallet would be assigned to a program"),
    4: ("durable_nonce", "with a durable nonce the transaction would never expire"),
    5: ("sol_outflow", "SOL would be withdrawn from a nonce account"),
    7: ("authority_change", "a nonce account would get another authority"),
    10: ("authority_change", "an account would be assigned to a program"),
    11: ("sol_outflow", "SOL would be transferred from a derived account"),
}


def look_at_system(inspection: Inspection, instruction: Instruction) -> None:
    """
    Take transfers and accounts created with a seed for ours; nothing else.

    Raises:
        GuardRefusedError: It is anything else.
    """
    data = instruction.data
    tag = _TAG.unpack_from(data)[0] if len(data) >= _TAG.size else None
    if tag == _TRANSFER_TAG and len(data) == _TRANSFER.size:
        _look_at_transfer(inspection, instruction)
    elif tag == _CREATE_WITH_SEED_TAG:
        _look_at_creation(inspection, instruction)
    else:
        raise refusal(
            *_REFUSED.get(
                -1 if tag is None else tag,
                ("unknown_instruction", f"System instruction {tag} is not understood"),
            )
        )


def _look_at_transfer(inspection: Inspection, instruction: Instruction) -> None:
    payer, receiver = _first_two(instruction)
    lamports = _TRANSFER.unpack(instruction.data)[1]
    if payer != inspection.intent.wallet:
        raise refusal("foreign_account", f"SOL would be taken from {payer}")
    if receiver == payer:
        return
    is_ours = receiver in inspection.created or (
        inspection.own_mint(receiver) == SOL_MINT
    )
    if is_ours:
        inspection.wrapped_lamports += lamports
    else:
        inspection.transfers.append(lamports)


def _look_at_creation(inspection: Inspection, instruction: Instruction) -> None:
    payer, created = _first_two(instruction)
    lamports, owner = _funding(instruction.data)
    if payer != inspection.intent.wallet:
        raise refusal("foreign_account", f"SOL would be taken from {payer}")
    if owner not in TOKEN_PROGRAMS:
        raise refusal(
            "created_account", f"an account of the program {owner} would be created"
        )
    if created in inspection.created:
        raise refusal("created_account", "an account would be created twice")
    inspection.created.add(created)
    inspection.wrapped_lamports += lamports


def _funding(data: bytes) -> tuple[int, str]:
    # Tag, base, seed with its length, lamports, space, owner.
    seed_at = _TAG.size + _KEY_BYTES
    if len(data) >= seed_at + _SEED_LENGTH.size:
        funding_at = seed_at + _SEED_LENGTH.size
        funding_at += _SEED_LENGTH.unpack_from(data, seed_at)[0]
        if len(data) == funding_at + _FUNDING.size + _KEY_BYTES:
            lamports, _ = _FUNDING.unpack_from(data, funding_at)
            return lamports, str(Pubkey.from_bytes(data[-_KEY_BYTES:]))
    raise refusal("unknown_instruction", "the creation of an account is malformed")


def _first_two(instruction: Instruction) -> tuple[str, str]:
    if len(instruction.accounts) < 2:
        raise refusal("unknown_instruction", "a System instruction lacks its accounts")
    return instruction.accounts[0], instruction.accounts[1]


_HEAP, _UNIT_LIMIT, _UNIT_PRICE, _DATA_LIMIT = 1, 2, 3, 4
_SMALL = struct.Struct("<BI")
_LARGE = struct.Struct("<BQ")


def look_at_compute_budget(inspection: Inspection, instruction: Instruction) -> None:
    """
    Take the limits and the price; the price is judged with the totals.

    Raises:
        GuardRefusedError: It is no instruction of this program that is understood.
    """
    data = instruction.data
    tag = data[0] if data else None
    if tag == _UNIT_PRICE and len(data) == _LARGE.size:
        inspection.unit_price = max(inspection.unit_price, _LARGE.unpack(data)[1])
    elif tag == _UNIT_LIMIT and len(data) == _SMALL.size:
        inspection.unit_limit = max(inspection.unit_limit or 0, _SMALL.unpack(data)[1])
    elif tag not in (_HEAP, _DATA_LIMIT) or len(data) != _SMALL.size:
        raise refusal(
            "unknown_instruction", f"Compute Budget instruction {tag} is not understood"
        )
