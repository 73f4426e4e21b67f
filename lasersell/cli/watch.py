"""``lasersell watch``: the positions of wallets, live in a terminal."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.live import Live

from lasersell.cli.codes import (
    IN_USE,
    MISTAKE,
    NOT_ACCEPTED,
    STOPPED,
    STREAM_ENDED,
    code_table,
)
from lasersell.cli.common import Common, command, force_option, pass_common
from lasersell.cli.logs import logging_by
from lasersell.cli.monitor import EventLog
from lasersell.cli.screen import AskForExit, Quit, Screen
from lasersell.cli.sources import Source, open_source
from lasersell.cli.terminal import Keyboard, StopSignals, single_keys
from lasersell.cli.watched import (
    NEVER_MET,
    config_option,
    load_run_config,
    wallet_option,
    wallets_of,
)
from lasersell.errors import ConfigurationError, LaserSellError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.stream.client import StreamClient
from lasersell.stream.options import StreamConfigure

__all__ = ["watch"]

_REFRESH = 0.25
"""Seconds between two drawings."""
_JSON_INTERVAL = 1.0
"""Seconds between two documents."""

_amount = click.FloatRange(min=0)


@command(
    epilog=code_table(STOPPED, MISTAKE, NOT_ACCEPTED, STREAM_ENDED, IN_USE),
)
@wallet_option
@config_option
@click.option(
    "--target", type=_amount, default=0.0, metavar="PCT", help="Exit at this profit."
)
@click.option(
    "--stop", type=_amount, default=0.0, metavar="PCT", help="Exit at this loss."
)
@click.option(
    "--trailing-stop",
    type=_amount,
    default=0.0,
    metavar="PCT",
    help="Exit so far below the peak.",
)
@click.option(
    "--deadline",
    type=_amount,
    default=0.0,
    metavar="SEC",
    help="Ask for the exit of a position after this time.",
)
@force_option
@pass_common
def watch(
    common: Common,
    wallets: tuple[str, ...],
    path: Path | None,
    target: float,
    stop: float,
    trailing_stop: float,
    deadline: float,
    force: bool,
) -> None:
    """
    Watch the positions of your wallets live, and ask for exits.

    Keys: the arrows select, x asks for the exit of a position, p pauses the screen,
    q quits. Nothing is signed or sold here: an exit signal is shown and left alone.

    Beside a running `lasersell run` it attaches read-only to that stream, and needs
    no wallet. With --json it prints a snapshot a second, a line each.
    """
    configure: StreamConfigure | None
    if path is None:
        client = common.client()
        strategy = StrategyConfig(
            target_profit_pct=target,
            stop_loss_pct=stop,
            trailing_stop_pct=trailing_stop,
        )
        if not (target or stop or trailing_stop):
            strategy = NEVER_MET
        configure = _configure(wallets_of(wallets), strategy, deadline)
    else:
        config = load_run_config(path, wallets, common)
        client, configure = config.client, config.configure
    try:
        with _terminated_like_interrupted():
            if common.as_json:
                _print_snapshots(client, configure, force=force)
            else:
                _draw(client, configure, common.log_level or "warning", force=force)
    except KeyboardInterrupt:
        pass


def _configure(
    wallets: tuple[str, ...], strategy: StrategyConfig, deadline: float
) -> StreamConfigure | None:
    if not wallets:
        return None
    return StreamConfigure(wallets, strategy, deadline_timeout_sec=deadline)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt too, so that every ``with`` is left."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_snapshots(
    client: StreamClient, configure: StreamConfigure | None, *, force: bool
) -> None:
    with (
        open_source(client, configure, EventLog(), force=force) as source,
        StopSignals() as signals,
    ):
        while not signals.wait(_JSON_INTERVAL):
            click.echo(msgspec.json.encode(source.look()))
            source.check()


def _draw(
    client: StreamClient,
    configure: StreamConfigure | None,
    log_level: str,
    *,
    force: bool,
) -> None:
    console = Console()
    if not (console.is_terminal and sys.stdin.isatty()):
        raise ConfigurationError(
            "watch draws in a terminal, and this is none; use --json"
        )
    events = EventLog()
    with (
        open_source(client, configure, events, force=force) as source,
        logging_by(events, log_level),
    ):
        _follow(source, console)
        source.check()


def _follow(source: Source, console: Console) -> None:
    screen = Screen(is_read_only=source.is_read_only)
    keys = sys.stdin.fileno()
    with (
        StopSignals() as signals,
        single_keys(keys),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        keyboard = Keyboard(keys, signals)
        while not signals.has_come:
            screen.show(source.look())
            live.update(screen.render(*console.size), refresh=True)
            for key in keyboard.read(_REFRESH):
                action = screen.press(key)
                if isinstance(action, Quit):
                    return
                if isinstance(action, AskForExit):
                    _ask(source, screen, action.token_account)


def _ask(source: Source, screen: Screen, token_account: str) -> None:
    try:
        source.request_exit(token_account)
    except LaserSellError as error:
        screen.notice = str(error)
