"""``lasersell sim``: the embedded stream server as a program of its own."""

from __future__ import annotations

from typing import Literal

import click

from lasersell.cli.common import Common, command, pass_common
from lasersell.cli.serving import serve
from lasersell.protocol.server import PositionClosed
from lasersell.sim import DEFAULT_LIMITS, TIERS, SimServer
from lasersell.sim.tiers import TierName

__all__ = ["sim"]

_HOLDINGS = 3
_VOLATILITY_PCT = 0.3
_SALE_LANDS_MS = 2000


# What happens is what it prints.
@command(log_level="info", log_to="stdout")
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen here.")
@click.option(
    "--port", default=8082, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--seed", default=0, show_default=True, help="The same seed, the same prices."
)
@click.option(
    "--wallet",
    "wallets",
    multiple=True,
    metavar="PUBKEY",
    help="Accept only this wallet; may be repeated. By default any is accepted.",
)
@click.option(
    "--api-key",
    "api_keys",
    multiple=True,
    metavar="KEY",
    help="Accept only this key; may be repeated. By default any is accepted.",
)
@click.option(
    "--hello",
    type=click.Choice(["first", "after_configure"]),
    default="first",
    show_default=True,
    help="When hello_ok comes.",
)
@click.option(
    "--tick-ms",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMITS.pnl_flush_ms,
    show_default=True,
    help="Time between two PnL updates.",
)
@click.option(
    "--tier",
    type=click.Choice(list(TIERS)),
    help="Limits and gifts of a tier; by default those of the specification.",
)
@pass_common
def sim(
    common: Common,
    host: str,
    port: int,
    seed: int,
    wallets: tuple[str, ...],
    api_keys: tuple[str, ...],
    hello: Literal["first", "after_configure"],
    tick_ms: int,
    tier: TierName | None,
) -> None:
    """
    Serve a simulated LaserSell stream until Ctrl-C.

    A wallet that is configured gets a few positions, whose prices walk at random.
    The sale of an exit signal lands when its transaction is submitted, or by itself
    after 2 s, and another buy follows.
    With --api-key-file the key in it is accepted too, and no key that is not named.
    """
    key = common.api_key
    if key is not None:
        api_keys = (*api_keys, key)
    server = SimServer(
        host=host,
        port=port,
        seed=seed,
        volatility_pct=_VOLATILITY_PCT,
        wallets=wallets or None,
        tier=tier,
        pnl_flush_ms=tick_ms,
        api_keys=api_keys or None,
        hello=hello,
        auto_sell_after_ms=_SALE_LANDS_MS,
        auto_buy_after_ms=_SALE_LANDS_MS,
        liquidity_snapshots=tier is None or TIERS[tier].liquidity_snapshots,
        trade_ticks=True,
        starter_holdings=_HOLDINGS,
    )
    serve(
        server,
        _banner,
        _keep_buying,
        common,
    )


def _banner(running: SimServer) -> str:
    return (
        f"serving at {running.url}, Ctrl-C ends it\n"
        f"REST API at {running.api_url}, Solana RPC at {running.rpc_url}"
    )


def _keep_buying(server: SimServer) -> None:
    while True:
        closed = server.sent.wait_for(PositionClosed, timeout=None)
        server.buy(closed.wallet_pubkey)
