"""
A transaction's instructions with their accounts in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from solders.message import MessageV0

from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.refusal import refusal
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.transaction import UnsignedTransaction

__all__ = ["Instruction", "read_instructions"]


class Instruction(NamedTuple):
    """One instruction."""

    program: str
    """The program it calls; base58."""
    accounts: tuple[str, ...]
    """The accounts it is given; base58."""
    data: bytes
    """What it tells the program."""


def read_instructions(
    transaction: UnsignedTransaction, policy: Policy, source: AccountSource | None
) -> list[Instruction]:
    """
    Return the instructions, address look-up tables resolved.

    Blocks only where a table is looked up that the source does not know yet.

    Raises:
        GuardRefusedError: A table may not or cannot be looked up, or an account is named
            twice.
        TxError: The source failed.
    """
    message = transaction.message
    keys = [str(key) for key in message.account_keys]
    if isinstance(message, MessageV0) and message.address_table_lookups:
        keys += _looked_up(message, policy, source)
    if len(set(keys)) != len(keys):
        raise refusal("duplicate_account", "an account is named twice")
    # Decoding made sure that each index names an account, and no program in a table.
    return [
        Instruction(
            keys[compiled.program_id_index],
            tuple(map(keys.__getitem__, compiled.accounts)),
            bytes(compiled.data),
        )
        for compiled in message.instructions
    ]


def _looked_up(
    message: MessageV0, policy: Policy, source: AccountSource | None
) -> Iterator[str]:
    if policy.lookup_tables == "refuse":
        raise refusal(
            "lookup_table", "accounts are in look-up tables, which the policy refuses"
        )
    if source is None:
        raise refusal(
            "lookup_table",
            "accounts are in look-up tables, and there is no one to ask for them; "
            "give accounts=AccountReader(...)",
        )
    # The order of the network: what is writable of all tables, then what is not.
    lookups = message.address_table_lookups
    for lookup in lookups:
        yield from _take(
            source, str(lookup.account_key), bytes(lookup.writable_indexes)
        )
    for lookup in lookups:
        yield from _take(
            source, str(lookup.account_key), bytes(lookup.readonly_indexes)
        )


def _take(source: AccountSource, table: str, indexes: bytes) -> Iterator[str]:
    if not indexes:
        return
    addresses = source.lookup_table(table, max(indexes) + 1)
    for index in indexes:
        if index >= len(addresses):
            raise refusal(
                "lookup_table", f"the look-up table {table} has no address {index}"
            )
        yield addresses[index]
