"""
What a transaction may do before it is signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs

from lasersell.errors import ConfigurationError
from lasersell.exits.programs import VENUES, Venue
from lasersell.exits.requests import MAX_U64, check_range
from lasersell.protocol.pubkey import check_pubkey
from lasersell.session.positions import SOL_MINT, USD1_MINT

__all__ = ["Policy"]

_MAX_BPS = 10_000


def _lamports(_: object, attribute: attrs.Attribute[int], value: Any) -> None:
    check_range(attribute.name, value, 0, MAX_U64)


def _bps(_: object, attribute: attrs.Attribute[int], value: Any) -> None:
    check_range(attribute.name, value, 0, _MAX_BPS)


def _tuple(venues: Iterable[Venue]) -> tuple[Venue, ...]:
    return tuple(venues)


def _tables(_: object, attribute: attrs.Attribute[str], value: Any) -> None:
    if value not in ("resolve", "refuse"):
        raise ConfigurationError(
            f"{attribute.name} must be 'resolve' or 'refuse', not {value!r}"
        )


@attrs.frozen(kw_only=True)
class Policy:
    """
    What a transaction may do before it is signed; immutable, change it with ``with_``.

    Make one with :meth:`default` or :meth:`signer_only`.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    looks_inside: bool = True
    """Whether more than the signer is checked."""
    venues: tuple[Venue, ...] = attrs.field(
        default=VENUES, converter=_tuple, repr=False
    )
    """The venues a trade may use."""
    trusted_programs: frozenset[str] = frozenset()
    """Programs you vouch for: their instructions are not looked into. Base58."""
    quote_mints: tuple[str, ...] = (SOL_MINT, USD1_MINT)
    """What a position may be sold for or bought with."""
    max_tip_lamports: int = attrs.field(default=5_000_000, validator=_lamports)
    """Most that may leave as a tip; the official client's default is 1,000,000."""
    max_fee_lamports: int = attrs.field(default=10_000_000, validator=_lamports)
    """Most that may leave as a fee where its share of the trade is less: 0.01 SOL is
    the least that the service documents for its two lower tiers."""
    max_fee_bps: int = attrs.field(default=300, validator=_bps)
    """Most that may leave as a fee, of the least that a sale brings or of what a buy
    spends: 2 percent is documented, and the least is below what is expected."""
    max_priority_fee_lamports: int = attrs.field(
        default=10_000_000, validator=_lamports
    )
    """Most that may be paid to the validator: unit price times unit limit."""
    max_overspend_bps: int = attrs.field(default=0, validator=_bps)
    """How far the worst case of a buy may lie over the amount asked for."""
    lookup_tables: Literal["resolve", "refuse"] = attrs.field(
        default="resolve", validator=_tables
    )
    """Whether address look-up tables are looked up, or the transaction is refused."""

    @classmethod
    def default(cls) -> Policy:
        """
        Return the policy for those who did not choose one.

        The fee payer and only signer is the wallet of the event, which is ours; only
        known programs; a known venue trades the position's token, and no more of it
        than the event says, for SOL or USD1, which we get; transfers out of the wallet
        stay within tip and fee; nobody else gets rights or rent.
        """
        return cls()

    @classmethod
    def signer_only(cls) -> Policy:
        """Return the policy that checks the fee payer and the signer, and nothing else."""
        return cls(looks_inside=False)

    def venue(self, program: str) -> Venue | None:
        """Return the venue at an address; None if it is none."""
        found = (venue for venue in self.venues if venue.program == program)
        return next(found, None)

    def with_venues(self, *venues: Venue) -> Policy:
        """Return the same policy that knows further venues."""
        return attrs.evolve(self, venues=(*self.venues, *venues))

    def with_programs(self, *programs: str) -> Policy:
        """
        Return the same policy that trusts further programs, whatever they are told.

        Raises:
            ConfigurationError: One is no public key.
        """
        for program in programs:
            check_pubkey(program, "program")
        return attrs.evolve(
            self, trusted_programs=self.trusted_programs.union(programs)
        )

    def with_limits(self, **limits: Any) -> Policy:
        """
        Return the same policy with other limits, such as ``max_tip_lamports=...``.

        Raises:
            ConfigurationError: There is no such limit, or its value is wrong.
        """
        try:
            return attrs.evolve(self, **limits)
        except TypeError as error:
            raise ConfigurationError(f"a Policy has no such limit: {error}") from error
