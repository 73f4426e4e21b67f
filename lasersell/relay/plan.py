"""
Which wallet goes into which session, where one session cannot take them all. Pure.

A session takes so many wallets and positions, a key so many sessions; ``hello_ok`` says
how many. A shard is one session of one key, and the name of one relay: run publishers
and subscribers of each, and each has a leader of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import Limits
from lasersell.relay.keys import check_name

__all__ = ["Account", "Plan", "Shard", "plan"]


def _check_label(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    check_name(attribute.name, value)


@attrs.frozen
class Account:
    """
    One API key, by a name of your own, and what the service allows it.

    Raises:
        ConfigurationError: The name cannot be part of a key of Redis.
    """

    name: str = attrs.field(validator=_check_label)
    """Any name; not the key, which belongs in no plan."""
    limits: Limits
    """``session.limits`` of any session with this key; 0 and None are no limit there."""

    @property
    def sessions(self) -> int:
        """How many sessions it may have; one where the service does not say."""
        return self.limits.max_sessions_per_api_key or 1


@attrs.frozen
class Shard:
    """One session: its relay's name, its key, and its wallets."""

    name: str
    """For ``Relay(name=...)`` and ``RelaySession.connect(name=...)``."""
    account: str
    wallets: tuple[str, ...]
    positions: int
    """How many are to be expected in all of them."""


@attrs.frozen
class Plan:
    """Every shard that has a wallet."""

    shards: tuple[Shard, ...]

    @property
    def assignments(self) -> dict[str, str]:
        """The name of the shard of each wallet; keep it for the next plan."""
        return {wallet: shard.name for shard in self.shards for wallet in shard.wallets}


class _Room:
    """A session that is being filled."""

    def __init__(self, account: Account, number: int) -> None:
        self.account = account
        self.name = f"{account.name}-{number}"
        self.wallets: dict[str, int] = {}

    @property
    def positions(self) -> int:
        return sum(self.wallets.values())

    def has_room(self, positions: int) -> bool:
        return self._fits(len(self.wallets) + 1, self.positions + positions)

    def take_out(self) -> list[str]:
        """Take out the fewest wallets that make the rest fit; return them."""
        out = []
        while not self._fits(len(self.wallets), self.positions):
            largest = max(self.wallets, key=lambda wallet: self.wallets[wallet])
            del self.wallets[largest]
            out.append(largest)
        return out

    def _fits(self, wallets: int, positions: int) -> bool:
        limits = self.account.limits
        return wallets <= (limits.max_wallets_per_session or wallets) and positions <= (
            limits.max_positions_per_session or positions
        )


def plan(
    wallets: Mapping[str, int] | Iterable[str],
    accounts: Iterable[Account],
    *,
    previous: Mapping[str, str] | None = None,
) -> Plan:
    """
    Spread wallets over the sessions of some keys; moves as few as possible.

    A wallet stays where it was as long as it fits there; a new one goes into the first
    session with room, so that few sessions are needed. Without ``previous`` the order of
    the wallets decides: those added at the end move none.

    Args:
        wallets: The wallets, and how many positions each may come to have; an iterable
            alone stands for one position each.
        accounts: The keys, the preferred first.
        previous: ``assignments`` of the plan before.

    Raises:
        ConfigurationError: They do not fit; says what is missing.
    """
    sizes = dict(wallets) if isinstance(wallets, Mapping) else dict.fromkeys(wallets, 1)
    rooms = [
        _Room(account, number)
        for account in _distinct(accounts)
        for number in range(account.sessions)
    ]
    homeless = _keep(sizes, rooms, previous or {})
    for wallet in homeless:
        _place(wallet, sizes[wallet], rooms)
    return Plan(
        tuple(
            Shard(room.name, room.account.name, tuple(room.wallets), room.positions)
            for room in rooms
            if room.wallets
        )
    )


def _distinct(accounts: Iterable[Account]) -> list[Account]:
    listed = list(accounts)
    if len({account.name for account in listed}) < len(listed):
        raise ConfigurationError("two accounts have the same name")
    return listed


def _keep(
    sizes: Mapping[str, int], rooms: list[_Room], previous: Mapping[str, str]
) -> list[str]:
    """Put wallets where they were; return those that need another place, in order."""
    by_name = {room.name: room for room in rooms}
    for wallet, size in sizes.items():
        room = by_name.get(previous.get(wallet, ""))
        if room is not None:
            room.wallets[wallet] = size
    for room in rooms:
        room.take_out()
    kept = {wallet for room in rooms for wallet in room.wallets}
    return [wallet for wallet in sizes if wallet not in kept]


def _place(wallet: str, positions: int, rooms: list[_Room]) -> None:
    for room in rooms:
        most = room.account.limits.max_positions_per_wallet
        if room.has_room(positions) and positions <= (most or positions):
            room.wallets[wallet] = positions
            return
    raise ConfigurationError(
        f"the wallet {wallet} with {positions} positions fits into none of "
        f"{len(rooms)} sessions; add an API key, or expect fewer positions"
    )
