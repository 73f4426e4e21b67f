"""What a test may do to the simulated chain, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from lasersell.errors import ConfigurationError
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.sim.background import Background
from lasersell.sim.chain import DEFAULT_QUOTE_UNITS, Chain
from lasersell.sim.hub import Hub
from lasersell.sim.ledger import Holding, Ledger, Quote, Trade
from lasersell.sim.orders import PendingExit
from lasersell.sim.position import Position
from lasersell.sim.reports import Sender, exit_signal
from lasersell.sim.strategy import Exit
from lasersell.sim.transactions import DEFAULT_TIP_LAMPORTS

__all__ = ["World"]

_ANY_PRICE_BPS = 10_000


class World:
    """
    The half of :class:`SimServer` that is about wallets, markets and trades.

    Any thread may call any method. Each blocks until the server's thread has done
    the work, which takes well under a millisecond.
    """

    def __init__(self, chain: Chain, hub: Hub, background: Background) -> None:
        self._chain = chain
        self._hub = hub
        self._background = background
        self._offers = count(1)

    # --- wallets --------------------------------------------------------------

    def register_wallet(self, wallet: str) -> None:
        """Accept a wallet from now on, if not all are accepted anyway."""
        self._background.call(lambda: self._chain.register(wallet))

    def fund(self, wallet: str, quote_units: int, quote: Quote = "SOL") -> None:
        """
        Give a wallet quote units; from now on it can spend no more than it has.

        A wallet that was never funded can pay for anything.
        """
        self._background.call(
            lambda: self._chain.ledger.fund(wallet, quote_units, quote)
        )

    @property
    def ledger(self) -> Ledger:
        """
        Who holds what now, and every trade that landed; a copy that does not change.

        It answers what was sold, when, and at what price.
        """
        return self._background.call(self._chain.ledger.copy)

    def holdings(self, wallet: str | None = None) -> tuple[Holding, ...]:
        """Return what a wallet holds now, oldest first; None asks for all wallets."""
        return self._background.call(lambda: self._chain.ledger.holdings(wallet))

    def trades(self) -> tuple[Trade, ...]:
        """Return every buy and sale that landed, oldest first."""
        return self._background.call(lambda: tuple(self._chain.ledger.trades))

    # --- markets --------------------------------------------------------------

    def add_market(
        self,
        mint: str | None = None,
        *,
        market_type: str = "pump_swap",
        quote: Quote = "SOL",
        liquidity: int | None = None,
        creator: str | None = None,
        is_routable: bool = True,
    ) -> str:
        """
        Open the market of a token before anybody buys it, and return its mint.

        A token that is bought without this trades on ``pump_swap``, in SOL.

        Args:
            mint: The token; None makes up a new one.
            market_type: Where it trades, in the stream's spelling.
            quote: What it trades against.
            liquidity: The quote side of its pool, in quote units; None is the
                default, 85 SOL or 15,000 USD1. The price does not depend on it.
            creator: The wallet that created the token.
            is_routable: Whether a mirror buy can be routed to it.

        Raises:
            ConfigurationError: If an argument is wrong, or the token has a market.
        """
        return self._background.call(
            lambda: (
                self._chain.markets.add(
                    mint,
                    market_type=market_type,
                    quote=quote,
                    liquidity=liquidity,
                    creator=creator,
                    is_routable=is_routable,
                ).mint
            )
        )

    def graduate(self, token: Holding | str) -> None:
        """
        Move a token from its launch platform to the full market.

        No message of the wire says so; strategies that sell on it do with the next
        tick, and later messages of its positions name the new market.

        Args:
            token: A mint, or a holding of it.

        Raises:
            ConfigurationError: If it is not on a launch platform.
        """
        mint = _mint(token)
        self._background.call(lambda: self._chain.market(mint).graduate())

    def set_liquidity(self, token: Holding | str, quote_units: int) -> None:
        """
        Give a token's pool this much on its quote side; the price stays.

        Args:
            token: A mint, or a holding of it.
            quote_units: The quote side, such as lamports.
        """
        mint = _mint(token)
        self._background.call(
            lambda: self._chain.market(mint).set_liquidity(quote_units)
        )

    def set_profit(self, position: Holding | int | str, profit_pct: float) -> None:
        """Give a position this profit in percent from the next tick on."""
        self._background.call(
            lambda: self._chain.set_profit(self._find(position), profit_pct)
        )

    def set_profit_path(
        self, position: Holding | int | str, profits_pct: Iterable[float]
    ) -> None:
        """Script a position's profit in percent, one value for each tick to come."""
        self._background.call(
            lambda: self._chain.set_profit_path(self._find(position), profits_pct)
        )

    # --- trades ---------------------------------------------------------------

    def buy(
        self,
        wallet: str,
        mint: str | None = None,
        *,
        quote_units: int = DEFAULT_QUOTE_UNITS,
        tokens: int | None = None,
        profits_pct: Iterable[float] | None = None,
        mirror_source: str | None = None,
    ) -> Holding:
        """
        Land a buy; clients that track or watch the wallet are told.

        Args:
            wallet: Who buys; base58.
            mint: What; None makes up a new token.
            quote_units: What it costs, in lamports; the entry of the position.
            tokens: How many tokens that buys, in atomic units; None lets the pool
                decide.
            profits_pct: The position's profit in percent, one value for each tick
                on which some client tracks it; it stays at the last. None lets the
                price walk by itself.
            mirror_source: The watched wallet whose buy this one copies, if any.

        Returns:
            The new holding; the server's methods take it for a position.

        Raises:
            InsufficientFundsError: If the wallet was funded, with less than that.
            ConfigurationError: If an argument is wrong, or the wallet holds the
                token already.
        """
        return self._land(
            lambda: self._chain.buy(
                wallet,
                mint,
                quote_units=quote_units,
                tokens=tokens,
                profits_pct=profits_pct,
                mirror_source=mirror_source,
            )
        ).holding

    def sell(
        self,
        position: Holding | int | str,
        *,
        tokens: int | None = None,
        reason: str = "manual",
    ) -> Trade:
        """
        Land a sale at the current price; clients that track the wallet are told.

        Args:
            position: A holding, a position id or a token account.
            tokens: How many, in atomic units; None is all.
            reason: The reason that ``position_closed`` gives.

        Raises:
            ConfigurationError: If no such position is held, or not that much of it.
        """
        return self._land(
            lambda: self._chain.sell(self._find(position), tokens=tokens, reason=reason)
        )

    def land_exit(self, position: Holding | int | str) -> Trade:
        """
        Land the sale of the last exit signal, as a client does that submits it.

        Args:
            position: A holding, a position id or a token account.

        Raises:
            ConfigurationError: If no exit signal is waiting for it.
        """

        def land() -> Trade:
            holding = self._find(position)
            pending = self._chain.orders.last_exit(holding.token_account)
            if pending is None:
                raise ConfigurationError(
                    f"no exit signal was sent for {holding.token_account}; "
                    "use sell() for a sale of the wallet's own"
                )
            return self._chain.land_exit(holding, pending)

        return self._land(land)

    def offer_exit(
        self,
        holding: Holding,
        *,
        tokens: int | None = None,
        level_index: int | None = None,
        reason: str = "target_profit",
    ) -> ExitSignalWithTx:
        """
        Return an exit signal that no strategy triggered, to be given to ``send``.

        Its transaction is like that of any other signal, accepts any price, and is
        never the same as that of another offer.

        Args:
            holding: What to sell; it need not be held any more.
            tokens: How many, in atomic units; None is all.
            level_index: The ladder level it is of; None if of none.
            reason: Why.
        """
        decision = Exit(reason, level_index, tokens)

        def offer() -> ExitSignalWithTx:
            tip = DEFAULT_TIP_LAMPORTS + next(self._offers)
            market = self._chain.market(holding.mint)
            signal = exit_signal(
                Position(holding.position_id, holding, market),
                decision,
                Sender(session_id=0, tip_lamports=tip),
                slippage_bps=_ANY_PRICE_BPS,
                blockhash=self._chain.blockhash(),
                now_ms=self._chain.now_ms(),
            )
            pending = PendingExit(reason, None, level_index, tokens)
            self._chain.orders.offer(signal.unsigned_tx_b64, pending)
            return signal

        return self._background.call(offer)

    def land_mirror_buy(self, mint: str, wallet: str | None = None) -> Holding:
        """
        Land a mirror buy that was signalled, as a client does that submits it.

        Args:
            mint: The token.
            wallet: Who buys; None takes the oldest signal of the token.

        Raises:
            InsufficientFundsError: If the wallet cannot pay.
            ConfigurationError: If none was signalled, or the token is held already.
        """

        def land() -> Trade:
            wallets = None if wallet is None else [wallet]
            for buy in self._chain.orders.buys(wallets):
                if buy.mint == mint:
                    return self._chain.land_buy(buy)
            raise ConfigurationError(f"no mirror buy of {mint} was signalled")

        return self._land(land).holding

    def _land(self, trade: Callable[[], Trade]) -> Trade:
        return self._background.call(lambda: self._hub.publish(trade()))

    def _find(self, position: Holding | int | str) -> Holding:
        holding = self._lookup(position)
        if holding is None:
            name = position if not isinstance(position, Holding) else position.mint
            raise ConfigurationError(f"no wallet holds position {name!r} any more")
        return holding

    def _lookup(self, position: Holding | int | str) -> Holding | None:
        ledger = self._chain.ledger
        if isinstance(position, Holding):
            return ledger.holding(position.token_account)
        if isinstance(position, str):
            return ledger.holding(position)
        for connection in self._hub.connections:
            tracked = connection.session.positions.get(position)
            if tracked is not None:
                return tracked.holding
        return next((h for h in ledger.holdings() if h.position_id == position), None)


def _mint(token: Holding | str) -> str:
    return token.mint if isinstance(token, Holding) else token
