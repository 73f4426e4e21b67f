"""How a demonstration sells: from an exit signal to a landed transaction."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from lasersell._clock import SYSTEM_CLOCK
from lasersell.exits.keys import WalletKey
from lasersell.exits.signer import Signer
from lasersell.exits.submit import Submitter
from lasersell.exits.targets import SendTarget
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.session.positions import PositionHandle

__all__ = ["Seller", "Sold"]

_LANDS_WITHIN_SEC = 5.0


@frozen
class Sold:
    """
    A sale that the node confirmed.

    Attributes:
        signature: Of the transaction; base58.
        slot: In which it landed.
        took_ms: Milliseconds from the signal in hand to the confirmation.
    """

    signature: str
    slot: int
    took_ms: float


class Seller:
    """
    Checks, signs and submits exits, and waits until they have landed.

    Args:
        keys: The keys of the wallets.
        rpc_url: Where the chain is.
    """

    def __init__(self, keys: Iterable[WalletKey], rpc_url: str) -> None:
        self._signer = Signer(keys)
        self._submitter = Submitter([SendTarget.rpc(rpc_url)])
        self._submitter.warm()

    def __enter__(self) -> Seller:
        return self

    def __exit__(self, *_: object) -> None:
        self._submitter.close()

    def sell(self, signal: ExitSignalWithTx, position: PositionHandle | None) -> Sold:
        """
        Sell what a signal asks for.

        Raises:
            TxError: The guard refused it, or it did not land.
        """
        started = SYSTEM_CLOCK.monotonic()
        signed = self._signer.sign_exit(signal, position)
        landed = self._submitter.submit_and_confirm(signed, timeout=_LANDS_WITHIN_SEC)
        took_ms = (SYSTEM_CLOCK.monotonic() - started) * 1000
        return Sold(landed.signature, landed.slot, took_ms)
