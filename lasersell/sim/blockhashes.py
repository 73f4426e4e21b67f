"""The block hashes that bound the life of transactions."""

from __future__ import annotations

from lasersell.sim.solana import made_up_key

__all__ = ["LIFETIME_SLOTS", "Blockhashes"]

LIFETIME_SLOTS = 150
"""Slots for which a block hash is good, about a minute; as on the real chain."""


class Blockhashes:
    """The block hashes that were handed out; one for each slot."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._era = 0

    def latest(self, slot: int) -> str:
        """Return the block hash of a slot; base58."""
        blockhash = made_up_key("blockhash", slot, self._era)
        if blockhash not in self._slots:
            self._forget_old(slot)
            self._slots[blockhash] = slot
        return blockhash

    def is_valid(self, blockhash: str, slot: int) -> bool:
        """Tell whether a transaction with this block hash may still land."""
        born = self._slots.get(blockhash)
        return born is not None and slot - born <= LIFETIME_SLOTS

    def expire(self) -> None:
        """Let all that were handed out be too old."""
        self._slots.clear()
        self._era += 1

    def _forget_old(self, slot: int) -> None:
        self._slots = {
            blockhash: born
            for blockhash, born in self._slots.items()
            if slot - born <= LIFETIME_SLOTS
        }
