"""``lasersell demo``: a whole session against the embedded server, shown and checked."""

from __future__ import annotations

import sys

from rich.console import Console

from lasersell._clock import SYSTEM_CLOCK, Deadline
from lasersell.cli.common import Common, command, pass_common
from lasersell.cli.demo_record import Record
from lasersell.cli.demo_scenario import (
    DEADLINE_SEC,
    KEYS,
    ROLES,
    STRATEGY,
    TICK_MS,
    WALLETS,
    Role,
)
from lasersell.cli.demo_seller import Seller
from lasersell.cli.demo_view import JsonView, LiveView, PlainView, View
from lasersell.errors import TxError
from lasersell.protocol.server import ExitSignalWithTx
from lasersell.session.events import StreamEvent
from lasersell.session.session import StreamSession
from lasersell.sim import SimServer
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["demo"]

_AT_MOST_SEC = 20.0


@command()
@pass_common
def demo(common: Common) -> None:
    """
    Show a session against an embedded server, in at most 20 s.

    Two wallets, four positions: a take-profit, a stop-loss, a trailing stop and a
    deadline exit arrive, with a forced reconnect in the middle. Each is checked,
    signed and submitted, and its sale closes the position. The exit code is 0 only
    if all of that happened to every one of them.
    """
    record = Record()
    with _view(common.as_json) as view, _server() as server:
        _play(server, record, view)
        view.conclude(record)
    sys.exit(0 if record.is_success else 1)


def _view(as_json: bool) -> View:
    if as_json:
        return JsonView()
    console = Console()
    return LiveView(console) if console.is_terminal else PlainView(console)


def _server() -> SimServer:
    return SimServer(
        seed=7,
        pnl_flush_ms=TICK_MS,
        # The harder of the two documented ways to come back after a reconnect.
        position_ids="renewed",
    )


def _play(server: SimServer, record: Record, view: View) -> None:
    for role in ROLES:
        if not role.is_late:
            _buy(server, record, role)
    client = StreamClient("demo-key", endpoint=server.url)
    configure = StreamConfigure(WALLETS, STRATEGY, deadline_timeout_sec=DEADLINE_SEC)
    with (
        Seller(KEYS, server.rpc_url) as seller,
        StreamSession.connect(client, configure) as session,
    ):
        view.say(f"connected to {server.url}, {len(WALLETS)} wallets configured")
        for role in ROLES:
            if role.is_late:
                _buy(server, record, role)
        _follow(session, server, seller, record, view)
    for sale in server.ledger.sales():
        record.book(sale.holding.mint, sale.signature)


def _buy(server: SimServer, record: Record, role: Role) -> None:
    holding = server.buy(
        role.wallet, quote_units=role.cost_lamports, profits_pct=role.profits_pct()
    )
    record.expect(holding.mint, role)


def _follow(
    session: StreamSession,
    server: SimServer,
    seller: Seller,
    record: Record,
    view: View,
) -> None:
    deadline = Deadline(_AT_MOST_SEC)
    has_dropped = False
    while not record.is_over:
        try:
            event = session.recv(timeout=deadline.remaining())
        except TimeoutError:
            view.say("gave up waiting")
            return
        if event is None:
            return
        line = record.see(event, SYSTEM_CLOCK.wall_ms())
        if line is not None:
            view.say(line)
        if isinstance(event.message, ExitSignalWithTx):
            view.say(_sell(seller, event, event.message, record))
        view.refresh(record)
        if record.has_closed_one and not has_dropped:
            has_dropped = True
            view.say("cutting the connection, to see it come back")
            server.drop()


def _sell(
    seller: Seller, event: StreamEvent, signal: ExitSignalWithTx, record: Record
) -> str:
    try:
        return record.sell(signal.mint, seller.sell(signal, event.handle))
    except TxError as error:
        return record.complain(str(error))
