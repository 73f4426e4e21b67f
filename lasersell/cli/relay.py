"""``lasersell relay``: publish one stream over Redis, or stand by to take it over."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import attrs
import click

from lasersell.cli.codes import (
    MISTAKE,
    NOT_ACCEPTED,
    STOPPED,
    STREAM_ENDED,
    code_table,
)
from lasersell.cli.common import Common, command, pass_common
from lasersell.cli.notify import notify
from lasersell.cli.signals import Signals
from lasersell.cli.watched import wallet_option, wallets_of
from lasersell.errors import ConcurrencyError, ConfigurationError
from lasersell.protocol.strategy import StrategyConfig
from lasersell.relay.publisher import Relay, RelayPolicy
from lasersell.session.session import StreamSession
from lasersell.session.tables import (
    Table,
    arguments_of,
    call,
    client_of,
    configure_of,
    read_tables,
    table_of,
    with_values,
)
from lasersell.stream.options import StreamConfigure

__all__ = ["relay"]

log = logging.getLogger(__name__)

_TABLES = ("stream", "configure", "strategy", "mirror", "session", "relay", "policy")
_amount = click.FloatRange(min=0)


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class _Place:
    """The table ``relay``: where to publish."""

    url: str | None = None
    name: str = "default"
    groups: tuple[str, ...] = attrs.field(default=(), converter=_texts)


@command(
    log_level="info",
    epilog=code_table(STOPPED, MISTAKE, NOT_ACCEPTED, STREAM_ENDED),
)
@click.option(
    "--redis",
    "url",
    envvar="LASERSELL_REDIS_URL",
    metavar="URL",
    help="The Redis to publish on; also LASERSELL_REDIS_URL.",
)
@click.option("--name", help="Of the relay; several share one Redis.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="A group that is to get every signal from the start on; may be repeated.",
)
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A TOML file with the tables " + ", ".join(f"[{t}]" for t in _TABLES) + ".",
)
@wallet_option
@click.option(
    "--target", type=_amount, default=0.0, metavar="PCT", help="Exit at this profit."
)
@click.option(
    "--stop", type=_amount, default=0.0, metavar="PCT", help="Exit at this loss."
)
@pass_common
def relay(
    common: Common,
    url: str | None,
    name: str | None,
    groups: tuple[str, ...],
    path: Path | None,
    wallets: tuple[str, ...],
    target: float,
    stop: float,
) -> None:
    """
    Publish the events of one stream over Redis, until stopped.

    Run it on several hosts with the same options: one leads, the others stand by and take
    over when it ends or dies. Programs anywhere get the events, and command the stream,
    with lasersell.relay.RelaySession.

    SIGTERM and Ctrl-C write what the stream has brought, and let another one take over.
    """
    tables: Table = {} if path is None else read_tables(path, _TABLES)
    if path is None:
        configure = _quick_configure(wallets_of(wallets), target, stop)
    elif wallets or target or stop:
        raise ConfigurationError(
            "wallets and strategy are those of --config; leave out the options"
        )
    else:
        configure = configure_of(tables)
    place = _place(tables, url, name, groups)
    tables = with_values(
        tables, "stream", endpoint=common.endpoint, api_key=common.api_key
    )
    assert place.url is not None, "looked at above"
    publisher = Relay(
        place.url,
        client_of(tables),
        configure,
        name=place.name,
        groups=place.groups,
        policy=call(RelayPolicy, table_of(tables, "policy"), "policy"),
        session_options=arguments_of(
            StreamSession.connect,
            table_of(tables, "session"),
            "session",
            leave_out=("client", "configure"),
        ),
    )
    _run(publisher)


def _quick_configure(
    wallets: tuple[str, ...], target: float, stop: float
) -> StreamConfigure:
    if not wallets:
        raise ConfigurationError(
            "no wallet to watch: name one with --wallet, LASERSELL_WALLET or --config"
        )
    strategy = StrategyConfig(target_profit_pct=target, stop_loss_pct=stop)
    return StreamConfigure(wallets, strategy)


def _place(
    tables: Table, url: str | None, name: str | None, groups: tuple[str, ...]
) -> _Place:
    place = call(_Place, table_of(tables, "relay"), "relay")
    place = attrs.evolve(
        place,
        url=url or place.url,
        name=name or place.name,
        groups=groups or place.groups,
    )
    if place.url is None:
        raise ConfigurationError(
            "no Redis to publish on: name it with --redis, LASERSELL_REDIS_URL, or url in "
            "the table [relay] of --config"
        )
    return place


def _run(publisher: Relay) -> None:
    with Signals() as signals:
        signals.then(publisher.close)
        log.info("%r", publisher)
        notify(READY="1", STATUS="publishing, or standing by")
        try:
            publisher.run()
        except ConcurrencyError:
            # Told to end in the moment before it ran, it does not begin.
            if not signals.stop.is_set():
                raise
        finally:
            notify(STOPPING="1")
            publisher.close()
    log.info("stopped: %d events of the high lane", publisher.stats().high_published)
