"""
From an event or an API answer to a signed transaction, by way of the guard.
"""

from __future__ import annotations

from collections.abc import Iterable

from lasersell.errors import ConfigurationError
from lasersell.exits.guard.check import CheckedTransaction, check
from lasersell.exits.guard.intent import Intent
from lasersell.exits.guard.policy import Policy
from lasersell.exits.guard.refusal import refusal
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.keys import WalletKey
from lasersell.exits.requests import BuildBuyTxRequest, BuildSellTxRequest
from lasersell.exits.responses import BuildTxResponse
from lasersell.exits.transaction import SignedTransaction, decode_transaction
from lasersell.protocol.mirror import AutoBuy
from lasersell.protocol.server import ExitSignalWithTx, MirrorBuySignal
from lasersell.session.positions import PositionHandle

__all__ = ["Signer"]


class Signer:
    """
    Signs what the guard lets through, for the wallets whose keys it holds.

    Any thread may use it. Blocks only where the account source must be asked.

    Args:
        keys: The keys of our wallets.
        policy: What a transaction may do; None is ``Policy.default()``.
        accounts: Where look-up tables and unusual accounts are looked up, such as an
            ``AccountReader``; None refuses transactions that need it.

    Raises:
        ConfigurationError: No key was given.
    """

    def __init__(
        self,
        keys: Iterable[WalletKey],
        *,
        policy: Policy | None = None,
        accounts: AccountSource | None = None,
    ) -> None:
        self._keys = {key.pubkey: key for key in keys}
        if not self._keys:
            raise ConfigurationError("no keys: a Signer needs one WalletKey at least")
        self._policy = Policy.default() if policy is None else policy
        self._accounts = accounts

    def __repr__(self) -> str:
        return f"Signer({', '.join(self._keys)})"

    @property
    def wallets(self) -> tuple[str, ...]:
        """The wallets it signs for; base58."""
        return tuple(self._keys)

    def sign_exit(
        self, signal: ExitSignalWithTx, position: PositionHandle | None = None
    ) -> SignedTransaction:
        """
        Check and sign the transaction of an exit signal.

        Args:
            signal: The signal; ``event.message``.
            position: Its position, ``event.handle``; used where the signal does not say
                how much it sells.

        Raises:
            GuardRefusedError: It does more than the exit it claims to be; or the wallet
                is not ours.
            TxError: It cannot be decoded, or an account could not be looked up.
            ConfigurationError: The position is another one.
        """
        return self._sign(signal.unsigned_tx_b64, Intent.of_exit(signal, position))

    def sign_mirror_buy(
        self, signal: MirrorBuySignal, auto_buy: AutoBuy | None = None
    ) -> SignedTransaction:
        """
        Check and sign the transaction of a mirror buy.

        Args:
            signal: The signal; ``event.message``.
            auto_buy: What you configured for the watched wallet, which then bounds the
                buy; None trusts the amount of the signal.

        Raises:
            GuardRefusedError: It does more than the buy it claims to be; or the wallet
                is not ours.
            TxError: It cannot be decoded, or an account could not be looked up.
        """
        return self._sign(
            signal.unsigned_tx_b64, Intent.of_mirror_buy(signal, auto_buy)
        )

    def sign_sell(
        self,
        built: BuildTxResponse,
        request: BuildSellTxRequest,
        position: PositionHandle | None = None,
    ) -> SignedTransaction:
        """
        Check and sign what ``build_sell_tx`` returned, against what it was asked for.

        Args:
            built: What it returned.
            request: What it was asked for.
            position: What is sold; needed where the request says 0, which is all.

        Raises:
            GuardRefusedError: It does anything else; or the wallet is not ours.
            TxError: It cannot be decoded, or an account could not be looked up.
            ConfigurationError: The position is another one.
        """
        return self._sign(built.tx, Intent.of_sell(request, position))

    def sign_buy(
        self, built: BuildTxResponse, request: BuildBuyTxRequest
    ) -> SignedTransaction:
        """
        Check and sign what ``build_buy_tx`` returned, against what it was asked for.

        Raises:
            GuardRefusedError: It does anything else; or the wallet is not ours.
            TxError: It cannot be decoded, or an account could not be looked up.
        """
        return self._sign(built.tx, Intent.of_buy(request))

    def _sign(self, text: str, intent: Intent) -> SignedTransaction:
        key = self._keys.get(intent.wallet)
        if key is None:
            raise refusal(
                "not_our_wallet", f"there is no key for the wallet {intent.wallet}"
            )
        checked = check(decode_transaction(text), intent, self._policy, self._accounts)
        return _signed(checked, key)


def _signed(checked: CheckedTransaction, key: WalletKey) -> SignedTransaction:
    transaction = checked.transaction
    signature = key.sign(transaction.message_bytes)
    return transaction.signed_with(signature, checked.tip_lamports)
