"""``lasersell run``: sell each position that an exit signal names, until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import click

from lasersell.cli.notify import notify
from lasersell.errors import (
    AuthenticationError,
    ConfigurationError,
    LaserSellError,
    MissingExtraError,
    SessionInUseError,
)
from lasersell.exits.accounts import AccountReader
from lasersell.exits.auto_exit import AutoExit
from lasersell.exits.config import RunConfig, load_config
from lasersell.exits.connect import connect_with_wallets
from lasersell.exits.guard.source import AccountSource
from lasersell.exits.journal_report import JournalReader
from lasersell.exits.submit import Submitter
from lasersell.session.exclusive import Exclusive, KeyHold, hold
from lasersell.session.session import StreamSession

__all__ = ["EXIT_CODES", "run"]

log = logging.getLogger(__name__)

STOPPED = 0
FAILED = 1
MISTAKE = 2
NOT_ACCEPTED = 3
STREAM_ENDED = 4
LEFT_UNDER_WAY = 5
IN_USE = 6

EXIT_CODES = {
    STOPPED: "stopped as asked, nothing left under way",
    FAILED: "a mistake of ours; the log has the traceback",
    MISTAKE: "a mistake in the configuration or the command",
    NOT_ACCEPTED: "the API key was refused",
    STREAM_ENDED: "the stream, or the API, could not be reached or ended for good",
    LEFT_UNDER_WAY: "stopped with transactions under way; the next run sees to them",
    IN_USE: "another process streams with this key, and --no-stand-by was given",
}
"""What an exit code means."""


class _Stopped(BaseException):
    """A signal ends whatever the main thread is at, because nothing is lost by that."""


class _Busy(Exception):
    """Another process does what we want to do."""


class _Signals:
    """
    What SIGTERM and Ctrl-C do; a context manager.

    While there is a session it is closed, which the main thread sees as the end of its
    loop; before and after, the main thread is torn out of what it waits in.
    """

    def __init__(self) -> None:
        self.session: StreamSession | None = None
        self.name: str | None = None
        """The signal that came."""
        self._former: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        session, self.session = self.session, None
        if session is None:
            raise _Stopped
        session.close(timeout=0)


@click.command(
    epilog="Exit codes: "
    + "; ".join(f"{code}: {meaning}" for code, meaning in EXIT_CODES.items())
    + "."
)
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    required=True,
    envvar="LASERSELL_CONFIG",
    help="The TOML file; also LASERSELL_CONFIG.",
)
@click.option("--check", is_flag=True, help="Check the configuration, and end.")
@click.option("--dry-run", is_flag=True, help="Do everything but submit.")
@click.option(
    "--stand-by/--no-stand-by",
    default=True,
    show_default=True,
    help="Wait while another process streams with this key, and take over when it ends.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def run(path: Path, check: bool, dry_run: bool, stand_by: bool, log_level: str) -> None:
    """
    Sell each position that an exit signal names, exactly once, until stopped.

    SIGTERM and Ctrl-C finish what is under way; a second one does not wait.
    """
    config = load_config(path)
    if dry_run:
        settings = attrs.evolve(config.settings, dry_run=True)
        config = attrs.evolve(config, settings=settings)
    if check:
        _check(config)
        return
    _log_to_stderr(log_level)
    sys.exit(_run(config, "wait" if stand_by else True))


def _check(config: RunConfig) -> None:
    if config.journal.exists():
        with JournalReader(config.journal) as reader:
            under_way = [sale for sale in reader.sales() if sale.outcome is None]
        click.echo(f"journal: {config.journal}, {len(under_way)} exits under way")
    else:
        click.echo(f"journal: {config.journal}, to be made")
    click.echo(f"stream: {config.client.options.endpoint}")
    click.echo(f"wallets: {', '.join(config.wallets)}")
    click.echo(f"targets: {', '.join(target.label for target in config.targets)}")
    click.echo(f"mirror buys: {'on' if config.mirror_buys else 'off'}")
    click.echo(f"dry run: {'yes' if config.settings.dry_run else 'no'}")
    click.echo("the configuration is good")


def _log_to_stderr(level: str) -> None:
    # The journal of systemd has a time of its own.
    has_time = "JOURNAL_STREAM" in os.environ
    stamp = "" if has_time else "%(asctime)s "
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter(f"{stamp}%(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    logger = logging.getLogger("lasersell")
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False


def _run(config: RunConfig, exclusive: Exclusive) -> int:
    signals = _Signals()
    try:
        with signals, contextlib.ExitStack() as stack:
            return _serve(config, exclusive, signals, stack)
    except _Stopped:
        log.info("%s: %s", signals.name, EXIT_CODES[STOPPED])
        return STOPPED  # there was nothing to finish yet
    except (ConfigurationError, MissingExtraError):
        raise
    except (SessionInUseError, _Busy) as error:
        log.error("%s", error)
        return IN_USE
    except AuthenticationError as error:
        log.error("%s", error)
        return NOT_ACCEPTED
    except LaserSellError as error:
        log.error("%s", error)
        return STREAM_ENDED
    except Exception:
        log.exception("a mistake of ours; please report it")
        return FAILED


def _serve(
    config: RunConfig,
    exclusive: Exclusive,
    signals: _Signals,
    stack: contextlib.ExitStack,
) -> int:
    if config.api is not None:
        stack.enter_context(config.api)
    submitter = stack.enter_context(
        Submitter(config.targets, confirm_with=config.confirm_with)
    )
    accounts = stack.enter_context(AccountReader(_rpc_of(config)))
    for wallet in sorted(config.wallets):
        stack.enter_context(_hold_wallet(wallet, exclusive))
    session = stack.enter_context(_connect(config, exclusive))
    auto = _auto_exit(config, session, submitter, accounts)
    signals.session = session
    submitter.keep_warm()
    notify(READY="1", STATUS=f"streaming for {len(config.keys)} wallets")
    log.info("selling for %s", ", ".join(config.wallets))
    try:
        try:
            auto.run()
        finally:
            signals.session = None
            is_done = _finish(auto, signals.name, config.run.stop_timeout)
    except _Stopped:
        is_done = False  # asked again, by somebody who does not want to wait
    code = STOPPED if is_done else LEFT_UNDER_WAY
    log.info("%s", EXIT_CODES[code])
    return code


def _finish(auto: AutoExit, signal_name: str | None, timeout: float) -> bool:
    notify(STOPPING="1")
    why = signal_name or "the stream has ended"
    log.info("%s: finishing what is under way, %g s at most", why, timeout)
    return auto.close(timeout=timeout)


def _hold_wallet(wallet: str, exclusive: Exclusive) -> KeyHold:
    # Two that sell for one wallet would each sell what the other has under way, also
    # where the service allows both of them a stream.
    try:
        return hold(
            f"wallet {wallet}",
            slots=1,
            wait=exclusive == "wait",
            what=f"the wallet {wallet}",
        )
    except SessionInUseError as error:
        holder = "another process" if error.pid is None else f"process {error.pid}"
        raise _Busy(f"{holder} already sells for the wallet {wallet}") from error


def _connect(config: RunConfig, exclusive: Exclusive) -> StreamSession:
    if not config.run.register_wallets:
        return StreamSession.connect(
            config.client, config.configure, exclusive=exclusive
        )
    assert config.api is not None, "checked with the configuration"
    return connect_with_wallets(
        config.api, config.client, config.configure, config.keys, exclusive=exclusive
    )


def _rpc_of(config: RunConfig) -> Any:
    """Return the node that the guard asks; None is the one of the environment."""
    tellers = [target for target in config.targets if target.takes_rpc]
    return config.confirm_with or next(iter(tellers), None)


def _auto_exit(
    config: RunConfig,
    session: StreamSession,
    submitter: Submitter,
    accounts: AccountSource,
) -> AutoExit:
    kill_file = config.run.kill_file
    return AutoExit(
        session,
        config.keys,
        submitter,
        settings=config.settings,
        journal=config.journal,
        policy=config.policy,
        accounts=accounts,
        api=config.api,
        mirror_buys=config.mirror_buys,
        loss_cap=config.loss_cap,
        kill_file=None if kill_file is None else Path(kill_file).expanduser(),
    )
