"""``lasersell run``: sell each position that an exit signal names, until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import attrs
import click

from lasersell.cli.notify import notify
from lasersell.cli.signals import Signals
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
from lasersell.session.exclusive import KeyHold, hold
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
    IN_USE: "another process does it already, and --no-stand-by was given",
}
"""What an exit code means."""


class _Busy(Exception):
    """Another process does what we want to do."""


class _Stopped(Exception):
    """A signal came before there was anything to finish."""


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
    help="Wait while another process does the same, and take over when it ends.",
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
    sys.exit(_run(config, stand_by=stand_by))


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


def _run(config: RunConfig, *, stand_by: bool) -> int:
    with Signals() as signals:
        try:
            code = _Daemon(config, signals, stand_by=stand_by).run()
        except (ConfigurationError, MissingExtraError):
            raise
        except LaserSellError as error:
            log.error("%s", error)
            return (
                NOT_ACCEPTED if isinstance(error, AuthenticationError) else STREAM_ENDED
            )
        except _Busy as error:
            log.error("%s", error)
            return IN_USE
        except _Stopped:
            code = STOPPED
        except Exception:
            log.exception("a mistake of ours; please report it")
            return FAILED
    log.info("%s", EXIT_CODES[code])
    return code


class _Daemon:
    """
    One run: hold what must be ours alone, connect, sell, finish.

    Args:
        config: What to do.
        signals: Who asks us to end.
        stand_by: Whether to wait while another process does it.
    """

    def __init__(self, config: RunConfig, signals: Signals, *, stand_by: bool) -> None:
        self._config = config
        self._signals = signals
        self._stand_by = stand_by
        self._stack = contextlib.ExitStack()

    def run(self) -> int:
        """Run until a signal or the end of the stream; return the exit code."""
        with self._stack:
            return self._run()

    def _run(self) -> int:
        config = self._config
        for wallet in sorted(config.wallets):
            # Two that sell for one wallet would each sell what the other has under way,
            # also where the service allows both of them a stream.
            self._hold(f"wallet {wallet}", f"the wallet {wallet}", slots=1)
        key = config.client.options.api_key.reveal()
        key_hold = self._hold(key, "the stream of this API key")
        if config.api is not None:
            self._stack.enter_context(config.api)
        submitter = self._stack.enter_context(
            Submitter(config.targets, confirm_with=config.confirm_with)
        )
        accounts = self._stack.enter_context(AccountReader(_rpc_of(config)))
        session = self._stack.enter_context(self._connect())
        if session.limits is not None:
            key_hold.allow(session.limits.max_sessions_per_api_key)
        auto = _auto_exit(config, session, submitter, accounts)
        submitter.keep_warm()
        return self._serve(session, auto)

    def _hold(self, key: str, what: str, slots: int | None = None) -> KeyHold:
        try:
            key_hold = hold(
                key,
                slots=slots,
                wait=self._stand_by,
                stop=self._signals.stop,
                what=what,
            )
        except SessionInUseError as error:
            if self._signals.stop.is_set():
                raise _Stopped from error
            holder = "another process" if error.pid is None else f"process {error.pid}"
            raise _Busy(f"{holder} holds {what}") from error
        return self._stack.enter_context(key_hold)

    def _connect(self) -> StreamSession:
        config = self._config
        if not config.run.register_wallets:
            session = StreamSession.connect(config.client, config.configure)
        else:
            assert config.api is not None, "checked with the configuration"
            session = connect_with_wallets(
                config.api, config.client, config.configure, config.keys
            )
        return session

    def _serve(self, session: StreamSession, auto: AutoExit) -> int:
        signals = self._signals
        signals.then(session.close)
        wallets = self._config.wallets
        notify(READY="1", STATUS=f"selling for {len(wallets)} wallets")
        log.info("selling for %s", ", ".join(wallets))
        try:
            auto.run()
        finally:
            timeout = self._config.run.stop_timeout
            notify(STOPPING="1")
            why = signals.name or "the stream has ended"
            log.info("%s: finishing what is under way, %g s at most", why, timeout)
            # Who asks again does not want to wait.
            signals.then(lambda: auto.close(timeout=0))
            is_done = auto.close(timeout=timeout)
        return STOPPED if is_done else LEFT_UNDER_WAY


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
