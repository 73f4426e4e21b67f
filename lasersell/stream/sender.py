"""
Commands to the server, written in the caller's own thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from lasersell.errors import ConfigurationError, NotConnectedError, StreamLostError
from lasersell.protocol.client import (
    ClosePosition,
    MirrorBuyResult,
    RequestExitSignal,
    UpdatePositionStrategy,
    UpdateWatchWallets,
)
from lasersell.protocol.codec import encode_client_message
from lasersell.protocol.mirror import WatchWallet
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.options import (
    check_strategy,
    check_wallets,
    check_watch_wallets,
)
from lasersell.stream.roundtrip import PendingPing
from lasersell.stream.supervisor import Supervisor
from lasersell.stream.transport import Text

__all__ = ["StreamSender"]


class StreamSender:
    """
    Sends commands on one stream.

    Every method may be called from any thread. None waits for an answer; each
    blocks only while the server does not read, for 5 seconds at most, after which
    the connection counts as lost. What describes a lasting wish (strategy,
    wallets, a position's own strategy, no longer tracking it) is remembered and
    told again after every reconnect; given while offline it is told then.

    After ``close()`` every method raises :exc:`~lasersell.errors.NotConnectedError`,
    in a forked child :exc:`~lasersell.errors.ForkedError`.
    """

    def __init__(self, stream: Supervisor[Any]) -> None:
        self._stream = stream

    # Lasting wishes

    def update_strategy(
        self, strategy: StrategyConfig, *, deadline_timeout_sec: float = 0.0
    ) -> None:
        """
        Replace the strategy of the session, for all positions at once.

        Args:
            strategy: The whole strategy; nothing of the former one stays.
            deadline_timeout_sec: A deadline that this session enforces itself; it
                only counts as the one exit condition that a strategy must have.

        Raises:
            ConfigurationError: The strategy is not valid.
        """
        check_strategy(strategy, deadline_timeout_sec)
        with self._stream.calling():
            self._check_open()
            intent = self._stream.intent
            intent.strategy = strategy
            self._tell(lambda: encode_client_message(intent.strategy_update()))

    def update_wallets(self, wallet_pubkeys: Iterable[str]) -> None:
        """
        Replace the list of own wallets.

        Raises:
            ConfigurationError: A key is malformed, or there are more than
                ``limits.max_wallets_per_session``.
        """
        wallets = check_wallets(wallet_pubkeys)
        self._check_limit("max_wallets_per_session", len(wallets), "wallets")
        with self._stream.calling():
            self._check_open()
            intent = self._stream.intent
            intent.wallet_pubkeys = wallets
            self._tell(lambda: encode_client_message(intent.wallets_update()))

    def update_watch_wallets(self, watch_wallets: Iterable[WatchWallet]) -> None:
        """
        Replace the list of watched wallets; this also re-enables a disabled one.

        Raises:
            ConfigurationError: A key or an amount is malformed, or there are more
                than ``limits.max_watch_wallets_per_session``.
        """
        wallets = check_watch_wallets(watch_wallets)
        self._check_limit(
            "max_watch_wallets_per_session", len(wallets), "watched wallets"
        )
        # Remembered, what the wire cannot carry would end the next connect.
        encode_client_message(UpdateWatchWallets(watch_wallets=wallets))
        with self._stream.calling():
            self._check_open()
            intent = self._stream.intent
            intent.watch_wallets = wallets
            self._tell(lambda: encode_client_message(intent.watch_wallets_update()))

    def update_position_strategy(
        self,
        position_id: int,
        strategy: StrategyConfig,
        *,
        token_account: str | None = None,
    ) -> None:
        """
        Give one position a strategy of its own, until it closes.

        Args:
            position_id: The position, by its id on this connection.
            strategy: The whole strategy.
            token_account: Its token account, where known; while offline the wish
                can only be remembered by that.

        Raises:
            ConfigurationError: The strategy is not valid.
            NotConnectedError: The id is not known on this connection.
        """
        check_strategy(strategy)
        message = UpdatePositionStrategy(position_id=position_id, strategy=strategy)
        encode_client_message(message)
        with self._stream.calling():
            self._check_open()
            intent = self._stream.intent
            with self._stream.intent_lock:
                account = self._locate(position_id, token_account)
                intent.override(account, strategy)
                present_id, link = intent.present_id(account), self._stream.link
            if present_id is not None and link is not None:
                message = attrs.evolve(message, position_id=present_id)
                self._tell(encode_client_message(message), to=link)

    def close_position(
        self, *, position_id: int | None = None, token_account: str | None = None
    ) -> None:
        """
        Stop tracking a position. This does not sell it.

        Exactly one of the two arguments is to be given.

        Raises:
            ConfigurationError: None or both of them are given.
            NotConnectedError: The id is not known on this connection.
        """
        text = encode_client_message(
            ClosePosition(position_id=position_id, token_account=token_account)
        )
        with self._stream.calling():
            self._check_open()
            intent = self._stream.intent
            with self._stream.intent_lock:
                account = self._locate(position_id, token_account)
                intent.untrack(account)
                self._stream.on_untracked(account)
                is_here, link = intent.is_here(account), self._stream.link
            if is_here and link is not None:
                self._tell(text, to=link)

    # Passing wishes

    def request_exit_signal(
        self,
        *,
        position_id: int | None = None,
        token_account: str | None = None,
        slippage_bps: int | None = None,
    ) -> None:
        """
        Ask for an unsigned exit transaction now, whatever the strategy says.

        Exactly one of the first two arguments is to be given. Asked again after a
        reconnect, and every few seconds until the exit signal or the close is
        seen, three times in all; then ``exit_request_unanswered`` is delivered.
        Given while offline, it is held by token account for a while.

        Args:
            position_id: The position, by its id on this connection.
            token_account: The position, by its token account.
            slippage_bps: Slippage of this one transaction, in basis points.

        Raises:
            ConfigurationError: None or both of the first two are given, or the
                slippage is not 0 to 65535.
            HoldFullError: Offline, and too many commands are held already.
            NotConnectedError: The id is not known on this connection.
        """
        text = encode_client_message(
            RequestExitSignal(
                position_id=position_id,
                token_account=token_account,
                slippage_bps=slippage_bps,
            )
        )
        stream = self._stream
        with stream.calling():
            self._check_open()
            with stream.intent_lock:
                account = self._locate(position_id, token_account)
                link = stream.link
                message = stream.intent.request_exit(
                    account,
                    slippage_bps,
                    stream.clock.monotonic(),
                    is_live=link is not None,
                )
            if message is not None:
                if token_account is None:  # what is sent names it by its account
                    text = encode_client_message(message)
                try:
                    stream.write(text, to=link)
                except (NotConnectedError, StreamLostError):
                    with stream.intent_lock:
                        stream.intent.exit_not_sent(account)
                    self._check_open()  # else it is held
            # Someone must be awake when it is time to ask again.
            stream.poke()

    def mirror_buy_result(self, mint: str, success: bool) -> None:
        """
        Tell the server whether a mirror buy was submitted.

        Given while offline, it is held for a while.

        Args:
            mint: Mint of the token.
            success: Submitted, not necessarily confirmed.

        Raises:
            HoldFullError: Offline, and too many commands are held already.
        """
        text = encode_client_message(MirrorBuyResult(mint=mint, success=success))
        stream = self._stream
        with stream.calling():
            self._check_open()
            try:
                stream.write(text)
            except (NotConnectedError, StreamLostError):
                with stream.intent_lock:
                    stream.intent.hold_mirror_result(
                        mint, success, stream.clock.monotonic()
                    )
                self._check_open()
                # A connection that became live meanwhile does not know of it.
                stream.poke()

    def ping(self) -> PendingPing:
        """
        Send an application ping; ``wait(timeout)`` of the answer is the round trip.

        Raises:
            NotConnectedError: The stream is not live.
        """
        ping = PendingPing()
        with self._stream.calling():
            self._stream.write(lambda: self._stream.round_trips.begin(ping))
        return ping

    # Private

    def _locate(self, position_id: int | None, token_account: str | None) -> str:
        """Return the token account meant; the caller holds the intent's lock."""
        if token_account is not None:
            return token_account
        assert position_id is not None
        account = self._stream.intent.account_of(position_id)
        if account is None:
            raise NotConnectedError(
                f"position {position_id} is not known on this connection; ids change "
                "with a reconnect, name it by its token account"
            )
        return account

    def _check_open(self) -> None:
        if self._stream.is_over:
            self._stream.write()

    def _check_limit(self, name: str, count: int, things: str) -> None:
        limits = self._stream.limits
        most = (getattr(limits, name) or 0) if limits is not None else 0
        if most and count > most:
            raise ConfigurationError(
                f"{count} {things} are more than the {most} that this account may have "
                f"({name} of hello_ok)"
            )

    def _tell(self, text: Text, *, to: object | None = None) -> None:
        try:
            self._stream.write(text, to=to)
        except (NotConnectedError, StreamLostError):
            self._check_open()  # the next connection is told instead
